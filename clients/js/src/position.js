// The position of a stream: its last event ID, kept over reloads if asked.

export class Position {
  id;
  #key;
  #storage;
  #hasFailed = false;

  constructor({ lastEventId = "", resume, storage }) {
    this.#key = `carafe:${resume}`;
    // Where storage is blocked, its name throws already.
    this.#storage = () => (resume ? storage ?? sessionStorage : undefined);
    this.id = this.#try((items) => items?.getItem(this.#key)) ?? lastEventId;
  }

  /** Called after the events up to this ID were handled: the next stream begins after it. */
  commit(id) {
    if (id === this.id) return;
    this.id = id;
    this.#try((items) => items?.setItem(this.#key, id));
  }

  /** Storage may be full or forbidden, at times. The stream is more useful without it than not at all. */
  #try(use) {
    try {
      return use(this.#storage());
    } catch (error) {
      if (!this.#hasFailed) console.warn("carafe-client: cannot store the position", error);
      this.#hasFailed = true;
    }
  }
}
