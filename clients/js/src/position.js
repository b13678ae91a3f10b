// The position of a stream: its last event ID, kept over reloads if asked.

export class Position {
  id;
  #key;
  #storage;

  constructor({ lastEventId = "", resume, storage }) {
    if (resume) {
      this.#key = `carafe:${resume}`;
      this.#storage = storage ?? sessionStorage;
    }
    this.id = this.#storage?.getItem(this.#key) ?? lastEventId;
  }

  /** Called after the events up to this ID were handled: the next stream begins after it. */
  commit(id) {
    if (id === this.id) return;
    this.id = id;
    try {
      this.#storage?.setItem(this.#key, id);
    } catch (error) {
      // Full or forbidden. The stream is more useful without this than not at all.
      console.warn("carafe-client: cannot save the position", error);
      this.#storage = null;
    }
  }
}
