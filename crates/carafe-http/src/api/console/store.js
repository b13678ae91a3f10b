// The newest events that were received, by their number since the page was opened. Bounded in number and in size.

export const KEPT = { events: 10_000, characters: 32_000_000 };

export class Store {
  /** The number of the next event. */
  end = 0;
  #events = [];
  #first = 0;
  #characters = 0;

  /** The number of the oldest event that is kept. */
  get first() {
    return this.end - (this.#events.length - this.#first);
  }

  add(event) {
    event.number = this.end++;
    this.#events.push(event);
    this.#characters += sizeOf(event);
    while (this.end - this.first > KEPT.events || this.#characters > KEPT.characters) this.#forget();
  }

  get(number) {
    return this.#events[this.#first + number - this.first];
  }

  clear() {
    [this.#events, this.#first, this.#characters] = [[], 0, 0];
  }

  #forget() {
    this.#characters -= sizeOf(this.#events[this.#first]);
    this.#events[this.#first++] = undefined;
    // Moved only now and then: moving for each event would take time by the number of events.
    if (this.#first < KEPT.events) return;
    this.#events = this.#events.slice(this.#first);
    this.#first = 0;
  }
}

function sizeOf({ data, topics }) {
  return data.length + topics.join("").length + 200;
}
