// The interface of the browser's EventSource, on a stream that does not give up.
import { Stream } from "./stream.js";

const STATES = ["CONNECTING", "OPEN", "CLOSED"];

export class EventSource extends EventTarget {
  #stream;
  #handlers = {};
  #isOpen = false;
  #origin = "";

  constructor(url, options = {}) {
    super();
    try {
      this.#stream = new Stream(url, options, (events) => this.#deliver(events), (state) => this.#change(state));
    } catch (error) {
      throw new DOMException(error.message, "SyntaxError");
    }
    this.withCredentials = !!options.withCredentials;
    this.#origin = this.#stream.url.origin;
  }

  get url() {
    return this.#stream.url.href;
  }

  get readyState() {
    return { open: 1, ended: 2 }[this.#stream.state.name] ?? 0;
  }

  /** What the browser's does not have: the state with its reason. */
  get state() {
    return this.#stream.state;
  }

  close() {
    this.#stream.close();
  }

  #deliver(events) {
    for (const { type, data, id } of events) {
      if (this.readyState === 2) return;
      this.dispatchEvent(new MessageEvent(type, { data, lastEventId: id, origin: this.#origin }));
      this.#stream.position.commit(id);
    }
  }

  #change({ name, reason, response }) {
    const wasOpen = this.#isOpen;
    this.#isOpen = name === "open";
    if (this.#isOpen) {
      if (response.url) this.#origin = new URL(response.url).origin;
      this.dispatchEvent(new Event("open"));
    } else if (reason !== "aborted" && (wasOpen || name !== "connecting")) this.dispatchEvent(new Event("error"));
  }

  static {
    STATES.forEach((name, value) => {
      for (const owner of [this, this.prototype]) Object.defineProperty(owner, name, { value, enumerable: true });
    });
    for (const type of ["open", "message", "error"]) {
      Object.defineProperty(this.prototype, `on${type}`, {
        configurable: true,
        enumerable: true,
        get() {
          return this.#handlers[type] ?? null;
        },
        set(handler) {
          this.removeEventListener(type, this.#handlers[type]);
          this.#handlers[type] = typeof handler === "function" ? handler : null;
          if (this.#handlers[type]) this.addEventListener(type, handler);
        },
      });
    }
  }
}
