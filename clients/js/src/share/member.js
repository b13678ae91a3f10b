// What each tab has in the place of a connection: a share of the one that the leader has.
//
// A member asks for what follows its position, and follows the leader that answers first. While it asks, it takes nothing, and
// afterwards only what this leader says: so it takes each event once, and in order, whoever else leads or has led.
import { Broker } from "./broker.js";
import { Recent } from "./recent.js";

/** A leader that says nothing for so long is asked. One that does not answer within as long again is replaced. */
const QUIET = 5000;
/** A tab that reads by itself reads on if no leader answers within this time. */
const PATIENCE = 2000;
/** The stream connects again, by its position, at once. */
const GONE = { reason: "closed", now: true };

const EVENT_STREAM = "text/event-stream";

/** The response, whose body has what `read` resolves to. Nothing is read ahead. */
const withBody = (response, read) => Object.defineProperty(response, "body", {
  value: new ReadableStream({ pull: async (controller) => controller.enqueue(await read()) }, { highWaterMark: 0 }),
});
/** Settles when something has happened to the connection. */
const change = (connection) => new Promise((resolve) => { connection.changed = resolve; });

export class Member {
  #stream;
  #options;
  #group;
  #name = crypto.randomUUID();
  /** Until this tab leaves. */
  #membership;
  #channel;
  #broker;
  /** Gives the lock back. */
  #release;
  /** What has arrived. The stream may not have read all of it. */
  #recent = new Recent("");
  /** The connection of this tab's stream. Its `mode` is "joining", "shared" or "alone". */
  #connection;
  /** The leader that this member follows. */
  #leader;
  /** The number of the last question, and whether it is open. */
  #asked = 0;
  #isAsking = false;
  #heardAt;
  /** How often no leader has answered. */
  #misses = 0;
  #ticker;

  constructor(stream, options) {
    this.#stream = stream;
    this.#options = options;
    // Tabs of another name have an own connection: their rights may be others. So have those that a page of an older
    // deployment left open: the number changes with the messages.
    this.#group = `carafe:1 ${JSON.stringify(options.share)} ${stream.url.href}`;
  }

  /** Whether others watch the connection: the leader does, and this member watches the leader. */
  get isShared() {
    return !!this.#connection && this.#connection.mode !== "alone";
  }

  /** Resembles `fetch`. The body yields `{ events, id }` instead of bytes while the connection is shared. */
  async connect(init) {
    const { signal } = init;
    signal.throwIfAborted();
    const connection = (this.#connection = { signal, mode: "joining" });
    signal.addEventListener("abort", () => this.#fail(signal.reason));
    if (!this.#membership) this.#enter();
    await this.#join(connection);
    if (connection.failure) throw connection.failure;
    if (connection.mode === "alone") return this.#readAlone(connection, init);
    return withBody(new Response(null, { headers: { "content-type": EVENT_STREAM } }), () => this.#read(connection));
  }

  leave() {
    this.#membership?.abort();
    this.#membership = undefined;
    clearInterval(this.#ticker);
    this.#channel?.close();
    this.#resign();
  }

  #enter() {
    this.#membership = new AbortController();
    this.#channel = new BroadcastChannel(this.#group);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#heard();
    this.#ticker = setInterval(() => this.#listen(), QUIET);
    this.#queue();
  }

  /** Each tab waits for the lock, which is free when the tab of the leader closes or crashes. */
  #queue() {
    this.#lead({ signal: this.#membership.signal }, () => this.#queue());
  }

  async #lead(how, queue) {
    const { signal } = this.#membership;
    try {
      await navigator.locks.request(this.#group, how, () => signal.aborted || this.#preside());
    } catch (error) {
      if (signal.aborted) return;
      this.#resign();
      // Another tab has heard nothing of this one for too long, and leads now.
      if (error.name === "AbortError") return queue?.();
      this.leave();
      this.#fail({ reason: "network", error });
    }
  }

  #preside() {
    return new Promise((release) => {
      this.#release = release;
      this.#broker = new Broker(this.#stream.constructor, this.#stream.url, this.#options, this.#group, this.#recent.copy());
    });
  }

  #resign() {
    this.#broker?.close();
    this.#broker = undefined;
    this.#release?.();
  }

  /** Settles when a leader has answered, or the connection has failed. */
  #join(connection) {
    const { id } = this.#stream.position;
    if (id !== this.#recent.id) this.#recent = new Recent(id);
    Object.assign(connection, { id, at: this.#recent.count });
    this.#ask();
    return change(connection);
  }

  #ask() {
    this.#leader = undefined;
    this.#isAsking = true;
    const isAlone = this.#connection.mode === "alone";
    this.#channel.postMessage({ member: this.#name, ask: ++this.#asked, id: this.#recent.id, isAlone });
  }

  #hear({ from, to, ask, leads, leaves, events, id, down, unknown }) {
    if (!from || !this.#connection) return;
    const isFollowed = from === this.#leader;
    if (isFollowed || !this.#leader) this.#heard();
    if (leads ? this.#leader || this.#isAsking : leaves && isFollowed) return this.#ask();
    const isAnswer = to === this.#name && ask === this.#asked && this.#isAsking;
    if (to ? !isAnswer : !isFollowed) return;
    if (isAnswer) this.#isAsking = false;
    if (down) this.#fail(down);
    else if (unknown) this.#refuse();
    else if (events) this.#take(from, events, id);
  }

  #heard() {
    this.#heardAt = Date.now();
    this.#misses = 0;
  }

  #take(leader, events, id) {
    this.#leader = leader;
    this.#recent.push(events, id);
    this.#connection.mode = "shared";
    this.#connection.changed?.();
  }

  /** The leader does not know the position of this tab. */
  #refuse() {
    if (this.#connection.mode === "shared") return this.#fail(GONE);
    this.#connection.mode = "alone";
    this.#connection.changed?.();
  }

  #fail(failure) {
    const connection = this.#connection;
    this.#connection = this.#leader = undefined;
    this.#isAsking = false;
    if (!connection) return;
    connection.failure = failure;
    connection.changed?.();
  }

  /** What the stream has not read yet. A failure follows what has arrived before it. */
  async #read(connection) {
    for (;;) {
      connection.signal.throwIfAborted();
      const events = this.#recent.since(connection.at);
      // The stream is too slow.
      if (!events) throw GONE;
      const { id } = this.#recent;
      if (events.length || id !== connection.id) {
        connection.at += events.length;
        connection.id = id;
        return { events, id };
      }
      if (connection.failure) throw connection.failure;
      await change(connection);
    }
  }

  /** The leader cannot help with an old position: this tab reads by itself until a leader knows it. */
  async #readAlone(connection, init) {
    const { fetch = globalThis.fetch } = this.#options;
    this.#stream.watch();
    const response = await fetch(this.#stream.url, init);
    const { body } = response;
    let reader;
    return withBody(response, async () => {
      reader ??= body.getReader();
      if (connection.mode === "alone") await this.#askBetween(connection);
      if (connection.mode === "shared") {
        reader.cancel().catch(() => {});
        return this.#read(connection);
      }
      const { done, value } = await reader.read();
      if (done) throw { reason: "closed" };
      return value;
    });
  }

  /** Nothing is read while the leader is asked, so no event arrives twice. */
  async #askBetween(connection) {
    if (this.#misses) return;
    let timer;
    const patience = new Promise((resolve) => { timer = setTimeout(resolve, PATIENCE); });
    await Promise.race([this.#join(connection), patience]);
    clearTimeout(timer);
    // Until a leader is heard of, none is asked.
    if (this.#isAsking) this.#misses = 1;
    this.#isAsking = false;
  }

  #listen() {
    if (!this.isShared || Math.abs(Date.now() - this.#heardAt) < QUIET) return;
    // The timers of this tab may have slept as well: it asks first.
    if (this.#misses++ && !this.#broker) this.#lead({ steal: true });
    else this.#ask();
  }
}
