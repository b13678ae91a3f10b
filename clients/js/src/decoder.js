// The event-stream format: WHATWG HTML, "Server-sent events", "Interpreting an event stream".

const FIELDS = { 100: "data", 101: "event", 105: "id", 114: "retry" };
const [LF, SPACE, COLON] = [10, 32, 58];

/** Decodes one stream. The ID is the last event ID of the stream before, if there was one. */
export class Decoder {
  /** The last event ID of the blocks that have ended. */
  id;
  /** The server's reconnection time in milliseconds, once it has sent one. */
  retry;
  #utf8 = new TextDecoder();
  #line = "";
  #endsWithCr = false;
  #data;
  #type = "";
  #nextId;
  #events;

  constructor(id = "") {
    this.id = this.#nextId = id;
  }

  /** Returns the events that `bytes` complete. */
  push(bytes) {
    // One byte order mark at the start of the stream is removed here, even if it arrives in parts.
    let text = this.#utf8.decode(bytes, { stream: true });
    this.#events = [];
    if (!text) return this.#events;
    // A CR ends its line at once. An LF that follows it, in this chunk or the next, is part of it.
    if (this.#endsWithCr && text.charCodeAt(0) === LF) text = text.slice(1);
    this.#endsWithCr = text.endsWith("\r");
    if (text.includes("\r")) text = text.replace(/\r\n?/g, "\n");
    this.#split(text);
    return this.#events;
  }

  #split(text) {
    let at = 0;
    let end = text.indexOf("\n");
    if (this.#line && end >= 0) {
      const line = this.#line + text.slice(0, end);
      this.#line = "";
      this.#take(line, 0, line.length);
      at = end + 1;
      end = text.indexOf("\n", at);
    }
    for (; end >= 0; end = text.indexOf("\n", at)) {
      this.#take(text, at, end);
      at = end + 1;
    }
    // Only new text is searched, so a long line in many chunks is read once.
    this.#line += at ? text.slice(at) : text;
  }

  /** Takes the line between `at` and `end`. */
  #take(text, at, end) {
    if (at === end) return this.#dispatch();
    const name = FIELDS[text.charCodeAt(at)];
    if (!name || !text.startsWith(name, at)) return;
    at += name.length;
    if (at < end) {
      if (text.charCodeAt(at++) !== COLON) return;
      if (text.charCodeAt(at) === SPACE) at++;
    }
    const value = text.slice(at, end);
    if (name === "data") this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
    else if (name === "event") this.#type = value;
    else if (name === "id") this.#nextId = value.includes("\0") ? this.#nextId : value;
    else if (/^\d+$/.test(value)) this.retry = +value;
  }

  /** At a blank line. A block without data is no event, but its ID counts. */
  #dispatch() {
    this.id = this.#nextId;
    if (this.#data !== undefined) {
      this.#events.push({ type: this.#type || "message", data: this.#data, id: this.id });
    }
    this.#data = undefined;
    this.#type = "";
  }
}
