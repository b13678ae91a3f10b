// The event-stream format: WHATWG HTML, "Server-sent events", "Interpreting an event stream".

import { COLON, D, E, I, LF, R, SPACE } from "./characters.js";

/** Characters of an event or a line, as in the client for Rust. More is no event stream, but a defect. */
const LARGEST = 64 * 2 ** 20;

/** Decodes one stream. The ID is the last event ID of the stream before, if there was one. */
export class Decoder {
  /** The last event ID of the blocks that have ended. */
  id;
  /** The server's reconnection time in milliseconds, once it has sent one. */
  retry;
  #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  /** The part of a line that has arrived. */
  #line = "";
  /** What is no part of the text if it comes next: a byte order mark at the very start, and an LF after a CR. */
  #skipped = "\ufeff";
  /** The block that has not ended. */
  #data;
  #type = "";
  #nextId;

  constructor(id = "") {
    this.id = this.#nextId = id;
  }

  /** Returns the events that `bytes` complete. */
  push(bytes) {
    let text = this.#utf8.decode(bytes, { stream: true });
    const events = [];
    // A CR ends its line at once. An LF that follows it, in this chunk or the next, is part of it.
    if (text) {
      if (text[0] === this.#skipped) text = text.slice(1);
      this.#skipped = text.endsWith("\r") ? "\n" : "";
    }
    if (text.includes("\r")) text = text.replace(/\r\n?/g, "\n");
    const first = text.indexOf("\n") + 1;
    // Only new text is searched and joined, so a long line in many chunks is read once.
    const joined = first && this.#line;
    if (joined) this.#decode(this.#line + text.slice(0, first), 0, events);
    if (first) this.#decode(text, joined ? first : 0, events);
    else this.#line += text;
    if (this.#line.length + (this.#data?.length ?? 0) > LARGEST) {
      throw Object.assign(new RangeError("an event is too large"), { reason: "too-large", final: true });
    }
    return events;
  }

  /** Decodes the lines from `at` on, and keeps the rest. Local variables make this faster than methods and fields. */
  #decode(text, at, events) {
    const hasNul = text.includes("\0");
    let [data, type, id] = [this.#data, this.#type, this.#nextId];
    for (let end; (end = text.indexOf("\n", at)) >= 0; at = end + 1) {
      const first = text.charCodeAt(at);
      if (first === LF) {
        // A block without data is no event, but its ID counts.
        if (data !== undefined) events.push({ type: type || "message", data, id });
        data = undefined;
        type = "";
        this.id = id;
      } else if (first === D) {
        const value = valueOf("data", text, at, end);
        if (value !== undefined) data = data === undefined ? value : `${data}\n${value}`;
      } else if (first === I) {
        const value = valueOf("id", text, at, end);
        if (value !== undefined && !(hasNul && value.includes("\0"))) id = value;
      } else if (first === E) type = valueOf("event", text, at, end) ?? type;
      else if (first === R) {
        const value = valueOf("retry", text, at, end);
        if (/^\d+$/.test(value)) this.retry = +value;
      }
    }
    [this.#line, this.#data, this.#type, this.#nextId] = [text.slice(at), data, type, id];
    return events;
  }
}

/** The value of the line between `at` and `end`, if its field has this name. */
function valueOf(name, text, at, end) {
  const colon = at + name.length;
  if (!text.startsWith(name, at)) return;
  if (colon === end) return "";
  if (text.charCodeAt(colon) === COLON) return text.slice(text.charCodeAt(colon + 1) === SPACE ? colon + 2 : colon + 1, end);
}
