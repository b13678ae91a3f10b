// The parser of event streams: WHATWG HTML, 9.2.6. It takes the text in any pieces.

const LINE_END = /\r\n|\r|\n/g;

export class Parser {
  /** The ID of the newest event that is complete. */
  lastEventId;
  #rest = "";
  #endedWithReturn = false;
  #type = "";
  #data = [];
  #id;

  constructor(lastEventId = "") {
    this.lastEventId = this.#id = lastEventId;
  }

  /** Yields `{ type, data, lastEventId }` for each event, and `{ retry }`. It has to be read to its end. */
  *push(text) {
    for (const line of this.#lines(text)) {
      const found = line === "" ? this.#dispatch() : this.#field(line);
      if (found) yield found;
    }
  }

  *#lines(added) {
    // A line feed that follows belongs to the carriage return before it.
    const text = this.#endedWithReturn && added.startsWith("\n") ? added.slice(1) : added;
    if (added) this.#endedWithReturn = added.endsWith("\r");
    const all = this.#rest + text;
    const end = new RegExp(LINE_END);
    // The rest has no line end, so a long line is not searched again for each piece.
    end.lastIndex = this.#rest.length;
    let from = 0;
    for (let match; (match = end.exec(all)); from = end.lastIndex) yield all.slice(from, match.index);
    this.#rest = all.slice(from);
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) return { retry: Number(value) };
    return null;
  }

  #dispatch() {
    const [type, data] = [this.#type || "message", this.#data];
    [this.#type, this.#data, this.lastEventId] = ["", [], this.#id];
    return data.length ? { type, data: data.join("\n"), lastEventId: this.lastEventId } : null;
  }
}
