// What each tab has in the place of a connection: a share of the one that the leader has.
import { Broker, asUnshared } from "./broker.js";
import { Recent } from "./recent.js";

const EVENT_STREAM = "text/event-stream";
/** A leader that says nothing for so long is asked. One that does not answer within as long again is replaced. */
const QUIET = 5000;
/** What waits for a slow page: about the number of its characters. */
const MOST_UNREAD = 4_000_000;

const sizeOf = ({ events = [] }) => events.reduce((sum, { data }) => sum + data.length + 500, 1);

export class Member {
  #Stream;
  #url;
  #options;
  #group;
  #name = crypto.randomUUID();
  #channel;
  #recent = new Recent("");
  /** The connection of this tab's stream. */
  #connection;
  #broker;
  /** The leader that has admitted this member. */
  #leader;
  #release = () => {};
  /** The number of the last question to the leader, and whether it is open. A late answer of a former leader is ignored. */
  #ask = 0;
  #isAsking = false;
  #answered = () => {};
  #isDirect = false;
  #direct;
  #resume = () => {};
  #heardAt;
  #askedAt;
  #ticker;

  /** The client loads this module only to share a stream, and passes its class. */
  constructor(url, options, Stream) {
    this.#Stream = Stream;
    this.#url = url;
    this.#options = options;
    // Tabs of another name have an own connection: their rights may be others.
    this.#group = `carafe:${JSON.stringify(options.share)} ${url.href}`;
  }

  /** Resembles `fetch`. The body yields `{ events, id }` instead of bytes. */
  connect(init, id) {
    return new Promise((resolve, reject) => {
      if (id !== this.#recent.id) this.#recent = new Recent(id);
      this.#connection = { init, resolve, reject };
      this.#isDirect = false;
      const { signal } = init;
      signal.addEventListener("abort", () => this.#fail(signal.reason));
      if (!this.#channel) this.#enter();
      this.#join();
    });
  }

  leave() {
    clearInterval(this.#ticker);
    this.#channel?.close();
    this.#channel = undefined;
    this.#broker?.close();
    this.#broker = undefined;
    this.#release();
  }

  #enter() {
    this.#channel = new BroadcastChannel(this.#group);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#heardAt = Date.now();
    this.#askedAt = 0;
    this.#ticker = setInterval(() => this.#listen(), QUIET);
    this.#lead();
  }

  /** The lock is free when the tab of the leader closes or crashes. */
  async #lead(how = {}) {
    const channel = this.#channel;
    const hasLeft = () => this.#channel !== channel;
    try {
      await navigator.locks.request(this.#group, how, () => !hasLeft() && new Promise((release) => {
        this.#release = release;
        this.#broker = new Broker(this.#Stream, this.#url, this.#options, this.#group, this.#recent.copy());
      }));
    } catch (error) {
      if (hasLeft()) return;
      this.#broker?.close(true);
      this.#broker = undefined;
      // Another tab has heard nothing of this one for too long, and leads now.
      if (error.name === "AbortError") this.#lead();
      else this.#fail({ reason: "network", error });
    }
  }

  /** What the leader of before still says is also in the answer. */
  #join() {
    this.#isAsking = true;
    this.#leader = undefined;
    this.#channel.postMessage({ join: this.#name, ask: ++this.#ask, id: this.#recent.id, isDirect: this.#isDirect });
  }

  #hear({ from, to, ask, leads, events, id, down, unknown }) {
    if (!from) return;
    this.#heardAt = Date.now();
    if (leads) return this.#hearOfLeader();
    const isAnswer = to === this.#name && ask === this.#ask && this.#isAsking;
    if (to ? !isAnswer : from !== this.#leader) return;
    // The clock or the timers of the leader may be late: then this tab waits as it does by itself.
    if (down && !this.#isDirect) return this.#fail(down.until > Date.now() ? down : { ...down, until: undefined });
    const isAdmitted = !unknown && !down;
    if (isAnswer) this.#answer(from, isAdmitted);
    // Also without events: they show that the connection is alive.
    if (isAdmitted) this.#take(events ?? [], id ?? this.#recent.id);
  }

  /** A member that reads by itself asks at its next event. */
  #hearOfLeader() {
    if (this.#connection && (!this.#isDirect || this.#isAsking)) this.#join();
  }

  #answer(from, isAdmitted) {
    this.#isAsking = false;
    this.#answered(isAdmitted);
    if (isAdmitted) {
      this.#leader = from;
      this.#isDirect = false;
      this.#open({ status: 200, url: this.#url.href, headers: new Headers({ "content-type": EVENT_STREAM }) });
    } else if (!this.#isDirect) this.#catchUp();
  }

  /** The leader cannot help with an old position: this tab reads by itself until the leader knows it. */
  #catchUp() {
    this.#isDirect = true;
    const direct = new this.#Stream(this.#url, asUnshared(this.#options, this.#recent.id), async (events, id) => {
      this.#take(events, id);
      while (this.#connection?.body?.desiredSize <= 0) await new Promise((resume) => { this.#resume = resume; });
      // Nothing is read while the leader is asked, so no event arrives twice.
      if (await this.#asks()) direct.close();
    }, ({ name, reason, status, until, response }) => {
      if (name === "open") this.#open(response);
      else if (reason !== "aborted" && name !== "connecting") this.#fail({ reason, status, until, response, final: name === "ended" });
    });
    this.#direct = direct;
  }

  #asks() {
    return new Promise((resolve) => {
      this.#answered = resolve;
      this.#join();
    });
  }

  #open({ status, url, headers }) {
    if (!this.#connection || this.#connection.body) return;
    const stream = new ReadableStream({
      start: (controller) => { this.#connection.body = controller; },
      pull: () => this.#resume(),
    }, { highWaterMark: MOST_UNREAD, size: sizeOf });
    this.#connection.resolve({ status, url, headers, body: stream });
  }

  #take(events, id) {
    const { body } = this.#connection ?? {};
    if (!body) return;
    // The page is slow. It asks for the rest when it has handled what is there.
    if (body.desiredSize <= 0) return this.#fail({ reason: "closed", now: true });
    this.#recent.push(events, id);
    body.enqueue({ events, id });
  }

  /** What the stream has not read yet, it receives from the next connection, if there is one. */
  #fail(failure) {
    const { body, reject } = this.#connection ?? {};
    this.#connection = this.#leader = undefined;
    this.#direct?.close();
    if (body && failure.final) body.enqueue({ failure });
    else if (body) body.error(failure);
    else reject?.(failure);
  }

  #listen() {
    const now = Date.now();
    if (now - this.#heardAt < QUIET || this.#broker) return;
    if (this.#heardAt >= this.#askedAt || now - this.#askedAt > 2.5 * QUIET) {
      // The timers of this tab may have slept as well: it asks first.
      this.#askedAt = now;
      this.#channel.postMessage({ ping: true });
    } else this.#lead({ steal: true });
  }
}
