// The server of a simulated browser: a stream of numbered events, its pages, and what can go wrong with them.
import { random } from "./random.js";
import { outside, thisTab } from "./tabs.js";

const asBytes = (text) => new TextEncoder().encode(text);

export class Origin {
  /** The ID of the newest event. */
  events = 0;
  requests = 0;
  /** Milliseconds between comments. */
  heartbeat = 15_000;
  connections = new Set();
  /** Whether it answers by 503, and whether a proxy holds streams back. */
  isDown = false;
  buffers = false;
  /** The probability that a request finds no network. */
  loss = 0;
  #random;
  #waiting = new Set();

  constructor(seed) {
    this.#random = random(seed);
  }

  /** The client's option `fetch`. */
  fetch = (url, { headers, signal }) => {
    this.requests++;
    const tab = thisTab();
    return new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      const answer = () => this.#answer(tab, url, headers, signal).then(resolve, reject);
      outside(() => setTimeout(() => tab.enter("network", answer), this.#random.next() * 30));
    });
  };

  publish(count) {
    this.events += count;
    for (const connection of this.connections) connection.flush();
    for (const wake of this.#waiting) wake();
  }

  /** IDs that belong to no event of this stream. */
  skip(count) {
    this.events += count;
    for (const connection of this.connections) connection.skip();
  }

  /** Breaks all streams, or those of a tab. */
  cut(tab) {
    for (const connection of [...this.connections]) if (!tab || connection.tab === tab) connection.end(new TypeError("cut"));
  }

  /** The connections of a tab that has crashed. */
  drop(tab) {
    for (const connection of this.connections) if (connection.tab === tab) this.connections.delete(connection);
  }

  async #answer(tab, url, headers, signal) {
    signal.throwIfAborted();
    if (this.#random.next() < this.loss) throw new TypeError("no network");
    if (this.isDown) return new Response("down", { status: 503, headers: this.#random.next() < 0.5 ? { "retry-after": "3" } : {} });
    if (url.searchParams.get("format") === "json") return this.#page(tab, url.searchParams, signal);
    const connection = new Connection(this, tab, headers.get("last-event-id"), signal);
    return new Response(connection.body, { headers: { "content-type": "text/event-stream" } });
  }

  async #page(tab, query, signal) {
    const after = Number(query.get("last_event_id") ?? this.events);
    const wait = parseInt(query.get("wait") ?? 0, 10);
    if (after === this.events && wait) await this.#change(tab, wait, signal);
    const events = Array.from({ length: this.events - after }, (_, at) => ({ id: String(after + at + 1), data: String(after + at + 1) }));
    return Response.json({ events, next: String(this.events), up_to_date: true, ended: null });
  }

  #change(tab, wait, signal) {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        tab.enter("network", resolve);
      };
      this.#waiting.add(wake);
      outside(() => setTimeout(wake, wait));
      signal.addEventListener("abort", wake);
    });
  }
}

class Connection {
  #origin;
  #sent;
  #controller;
  #heartbeat;
  /** Something on the way keeps all that follows. */
  #isHeld = false;

  constructor(origin, tab, id, signal) {
    this.#origin = origin;
    this.tab = tab;
    this.#sent = Number(id ?? origin.events);
    this.body = new ReadableStream({ start: (controller) => { this.#controller = controller; }, cancel: () => this.end() });
    origin.connections.add(this);
    signal.addEventListener("abort", () => this.end(signal.reason));
    outside(() => { this.#heartbeat = setInterval(() => this.#send(":\n\n"), origin.heartbeat); });
    this.#send(`event: carafe.position\nid: ${this.#sent}\ndata: {"position":"${this.#sent}"}\n\n`);
    this.flush();
  }

  flush() {
    let text = "";
    while (this.#sent < this.#origin.events) text += `id: ${++this.#sent}\ndata: ${this.#sent}\n\n`;
    if (text) this.#send(text);
  }

  skip() {
    this.#sent = this.#origin.events;
    this.#send(`id: ${this.#sent}\n\n`);
  }

  #send(text) {
    this.#isHeld ||= this.#origin.buffers;
    if (this.#isHeld) return;
    this.tab.enter("network", () => this.#isOpen && this.#controller.enqueue(asBytes(text)));
  }

  get #isOpen() {
    return this.#origin.connections.has(this);
  }

  end(error) {
    if (!this.#origin.connections.delete(this)) return;
    clearInterval(this.#heartbeat);
    if (error) this.tab.enter("network", () => this.#controller.error(error));
  }
}
