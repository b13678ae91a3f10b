// A stream as an async iterator.
import { Stream } from "./stream.js";

/** Why a stream has ended that the client wanted. */
export class StreamError extends Error {
  name = "StreamError";

  constructor({ reason, status, response }) {
    super(`the stream has ended: ${reason}${status ? ` ${status}` : ""}`);
    Object.assign(this, { reason, status, response });
  }
}

/** Opens a stream. Iterate over the result once. */
export function subscribe(url, options = {}) {
  return new Subscription(url, options);
}

class Subscription {
  #stream;
  #options;
  /** What has arrived together. The stream reads on when the loop has handled it. */
  #batch = [];
  #at = 0;
  /** The event that the loop handles. */
  #current;
  #delivered = () => {};
  #changed = () => {};
  /** The last call of `next`. One that is made meanwhile waits for it, as with generators. */
  #turn = Promise.resolve();

  constructor(url, options) {
    this.#options = options;
    this.#stream = new Stream(url, options, (events) => new Promise((resolve) => {
      [this.#batch, this.#at, this.#delivered] = [events, 0, resolve];
      this.#changed();
    }), (state) => {
      options.onState?.(state);
      if (state.name !== "ended") return;
      this.#changed();
      this.#delivered();
    });
  }

  get state() {
    return this.#stream.state;
  }

  get lastEventId() {
    return this.#stream.position.id;
  }

  close() {
    this.#stream.close();
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    const next = () => this.#next();
    return (this.#turn = this.#turn.then(next, next));
  }

  async #next() {
    for (;;) {
      this.#commit();
      const { name, reason } = this.state;
      if (this.#at < this.#batch.length && reason !== "aborted") {
        const event = (this.#current = this.#batch[this.#at++]);
        if (!event.type.startsWith("carafe.")) return { value: event };
        const value = this.#report(event);
        if (this.#options.controls) return { value };
      } else if (name === "ended") {
        if (reason !== "done" && reason !== "aborted") throw new StreamError(this.state);
        return { done: true };
      } else {
        const change = new Promise((resolve) => { this.#changed = resolve; });
        this.#delivered();
        await change;
      }
    }
  }

  #report(event) {
    try {
      const control = asControl(event);
      this.#options.onControl?.(control);
      return control;
    } catch (error) {
      // The loop ends with the error, and does not close the iterator then.
      this.close();
      throw error;
    }
  }

  async return() {
    this.#commit();
    this.close();
    return { done: true };
  }

  /** The loop asks for the next event, or ends: it has handled the one before. */
  #commit() {
    if (this.#current) this.#stream.position.commit(this.#current.id);
    this.#current = undefined;
  }
}

/** A report of the hub itself: gap, end, stop, expired, position, heartbeat. */
function asControl({ type, data, id }) {
  return { ...JSON.parse(data), control: type.slice(7), id };
}
