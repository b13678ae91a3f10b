// Pages of the hub: JSON instead of a stream. Loaded only with `fallback`.
import { isStartOpen } from "./start.js";

const TYPE = "application/json";
const POLL_WAIT = 25_000;
const FALLBACK_AFTER = 5_000;
/** Time of long polling before the next attempt to stream. It doubles with each that fails, up to an hour. */
const POLLING_TIME = 60_000;
const MAX_POLLING_TIME = 60 * POLLING_TIME;

const sleep = (time, signal) => new Promise((resolve) => {
  const timer = setTimeout(wake, time);
  signal.addEventListener("abort", wake);
  function wake() {
    clearTimeout(timer);
    signal.removeEventListener("abort", wake);
    resolve();
  }
});
const asOnStream = (isEnvelope) => (event) => ({
  type: event.type ?? "message", data: isEnvelope ? JSON.stringify(event) : event.data, id: event.id,
});
const reportOf = (type, report, id) => (report ? [{ type, data: JSON.stringify(report), id }] : []);

/** Reads pages in the place of a stream that something on the way buffers. */
export class Poller {
  #stream;
  #patience;
  #isShared;
  /** Whether the server has pages. Until the first one, a refusal may mean that it has none. */
  #hasPages;
  #until = 0;
  #pollingTime = POLLING_TIME;
  #timer;

  /** A stream is buffered if no byte of it arrives within `patience` milliseconds after its request. */
  constructor(stream, patience, isShared) {
    this.#stream = stream;
    this.#isShared = isShared;
    this.#patience = patience === true ? FALLBACK_AFTER : patience;
  }

  /** Reads what is to be read before the next stream. Returns why no stream follows. */
  async poll(signal) {
    if (Date.now() < this.#until) return this.#isShared ? this.#catchUp(signal) : this.#pollLong(signal);
    // Without a position, events would be lost between a stream that is buffered and the first page.
    if (!this.#isShared && this.#hasPages !== false && !this.#stream.position.id) return this.#page(signal);
  }

  /** Calls `abort` if nothing is heard of the stream that is requested. */
  watch(abort) {
    if (this.#hasPages === false) return;
    this.#timer = setTimeout(() => {
      this.fallBack();
      abort();
    }, this.#patience);
  }

  hear() {
    this.unwatch();
    this.#pollingTime = POLLING_TIME;
  }

  unwatch() {
    clearTimeout(this.#timer);
  }

  /** Pages follow for a while. */
  fallBack() {
    if (this.#hasPages === false) return;
    this.#until = Date.now() + this.#pollingTime;
    this.#pollingTime = Math.min(2 * this.#pollingTime, MAX_POLLING_TIME);
  }

  /** The first page does not wait: it shows that there are pages. The hub takes whole numbers. */
  async #pollLong(signal) {
    for (let wait = 0, left; (left = this.#until - Date.now()) > 0; wait = POLL_WAIT) {
      const failure = await this.#page(signal, Math.min(left, wait, this.#stream.silence / 2) | 0);
      if (failure) return failure;
    }
    return { now: true };
  }

  /** The leader of a shared stream polls for all. A tab with an old position reads up to now, and shares. */
  async #catchUp(signal) {
    const { position } = this.#stream;
    for (let id; id !== position.id;) {
      ({ id } = position);
      const failure = await this.#page(signal, 0);
      if (failure) return failure;
    }
    this.#until = 0;
    return { now: true };
  }

  /** Reads one page, or all of a snapshot. Returns why there are no more. `wait` is missing before a stream. */
  async #page(signal, wait, continues) {
    const stream = this.#stream;
    const url = this.#urlOf(wait, continues);
    const askedAt = Date.now();
    const response = await stream.request(signal, url, TYPE);
    const failure = stream.failureOf(response, TYPE);
    if (failure) return this.#failed(failure);
    this.#hasPages = true;
    const { events, next, gap, ended, up_to_date } = await response.json();
    const all = [
      ...reportOf("carafe.gap", gap, stream.position.id),
      ...events.map(asOnStream(url.searchParams.has("envelope"))),
      ...reportOf("carafe.end", ended, next),
    ];
    const more = url.searchParams.has("latest") && !up_to_date && next !== stream.position.id;
    if (wait >= 0 && stream.state.name !== "open") stream.open(response, "poll");
    await stream.take(all, next);
    if (ended) return { final: true, reason: "done" };
    if (more) return this.#page(signal, wait, more);
    // A server that does not wait is asked no more often than others that end their answer.
    if (wait && !all.length) await sleep(Math.max(0, askedAt + stream.retry - Date.now()), signal);
  }

  /** The page after the position of the stream, which waits so many milliseconds for an event. */
  #urlOf(wait, continues) {
    const { id } = this.#stream.position;
    const url = new URL(this.#stream.url);
    const query = url.searchParams;
    query.set("format", "json");
    if (wait) query.set("wait", `${wait}ms`);
    // After the snapshot, a stream has all events, and a page with `latest` only the newest of each topic.
    if (id && !continues) query.delete("latest");
    if (id) query.set("last_event_id", id);
    // A page would begin with the oldest event. This one only tells the position, and the next has what is new.
    else if (isStartOpen(query)) query.set("last", 0);
    return url;
  }

  /** A server without pages is asked for a stream again, and the stream tells what else is refused. */
  #failed(failure) {
    if (this.#hasPages || !failure.final || !failure.status) return failure;
    this.#hasPages = false;
    this.#until = 0;
    return { now: true };
  }
}
