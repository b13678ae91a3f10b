// The newest events of a shared stream. A tab reads from them, and one that joins or has missed some receives them without a
// request.

const MOST_EVENTS = 2000;
const MOST_DATA = 4_000_000;

export class Recent {
  /** The last event ID. */
  id;
  /** The ID before the oldest event. */
  #base;
  #events = [];
  #data = 0;
  #forgotten = 0;

  constructor(id) {
    this.id = this.#base = id;
  }

  /** The number of events up to now. */
  get count() {
    return this.#forgotten + this.#events.length;
  }

  copy() {
    const copy = new Recent(this.#base);
    copy.push(this.#events, this.id);
    return copy;
  }

  push(events, id) {
    // Before: what has just arrived can always be read. By halves, so that it is seldom.
    if (this.#events.length > MOST_EVENTS || this.#data > MOST_DATA) this.#forget((this.#events.length + 1) >> 1);
    for (const event of events) {
      this.#events.push(event);
      this.#data += event.data.length;
    }
    this.id = id;
  }

  /** The events after this ID, or nothing if it is not known. */
  after(id) {
    if (id === this.id) return [];
    const at = this.#events.findLastIndex((event) => event.id === id);
    if (at >= 0 || id === this.#base) return this.#events.slice(at + 1);
  }

  /** The events after the first `count`, or nothing if some of them are forgotten. */
  since(count) {
    if (count >= this.#forgotten) return this.#events.slice(count - this.#forgotten);
  }

  #forget(count) {
    for (const { data, id } of this.#events.splice(0, count)) {
      this.#data -= data.length;
      this.#base = id;
    }
    this.#forgotten += count;
  }
}
