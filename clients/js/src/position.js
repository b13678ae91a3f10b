// The position of a stream: its last event ID, kept over reloads if asked.

export class Position {
  id;
  #key;
  #storage;

  constructor({ lastEventId = "", resume, storage }) {
    if (resume) this.#key = `carafe:${resume}`;
    this.#storage = storage;
    this.id = this.#use("getItem") ?? lastEventId;
  }

  /** Called after the events up to this ID were handled: the next stream begins after it. */
  commit(id) {
    if (id === this.id) return;
    this.id = id;
    this.#use("setItem");
  }

  #use(method) {
    try {
      if (this.#key) return (this.#storage ??= sessionStorage)[method](this.#key, this.id);
    } catch (error) {
      // Full or forbidden. The stream is more useful without this than not at all.
      console.warn("carafe-client: position not saved", error);
      this.#key = undefined;
    }
  }
}
