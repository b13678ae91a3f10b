// One stream from its first connection to its end: the state machine that all else stands on.
import { Decoder } from "./decoder.js";
import { watchPage } from "./page.js";
import { Position } from "./position.js";
import { failureOf } from "./response.js";

const EVENT_STREAM = "text/event-stream";
const JSON_TYPE = "application/json";
const LONGEST_BACKOFF = 30_000;
const LEAST_BACKOFF = 100;
/** Timers take 31 bits. */
const LONGEST_TIMER = 1e9;
const POLL_WAIT = 25_000;
const FALLBACK_AFTER = 5_000;
/** Time of long polling before the next attempt to stream. It doubles with each that fails. */
const POLLING_TIME = 60_000;
const HIDDEN = { reason: "hidden" };

const valueOf = (option, argument) => (typeof option === "function" ? option(argument) : option);
/** Header values are bytes, and IDs are UTF-8. */
const asBytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

export class Stream {
  state = { name: "connecting" };
  #options;
  #deliver;
  #onState;
  #unwatch;
  #abort = new AbortController();
  #isHidden = false;
  #isRefused = false;
  #isBusy = false;
  #silence;
  #ticker;
  #fallbackIsOff = false;
  #member;
  #heardAt;
  #retry;
  #failures = 0;
  #until = 0;
  #earliest = 0;
  #wakeUp = () => {};
  #pollUntil = 0;
  #pollingTime = POLLING_TIME;

  /** `deliver` takes each batch of events, and may return a promise: nothing is read until it resolves. */
  constructor(url, options, deliver, onState) {
    this.url = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    const { heartbeat, silence = heartbeat * 3 || 45_000, retry = 2000, signal } = options;
    if (heartbeat) this.url.searchParams.set("heartbeat", `${heartbeat}ms`);
    this.position = new Position(options);
    this.#options = options;
    this.#silence = silence || LONGEST_TIMER;
    this.#deliver = deliver;
    this.#onState = onState;
    this.#retry = retry;
    this.#unwatch = watchPage({
      background: options.background, hide: () => this.#hide(), wake: (reason) => this.#wake(reason),
    });
    signal?.addEventListener("abort", () => this.close());
    // After the caller has set its handlers.
    if (signal?.aborted) this.close();
    else queueMicrotask(() => this.#run());
  }

  close() {
    this.#end({ reason: "aborted" });
  }

  get #hasEnded() {
    return this.state.name === "ended";
  }

  async #run() {
    let failure = {};
    while (!this.#hasEnded) {
      const openedAt = Date.now();
      failure = this.#isHidden ? HIDDEN : await this.#connect(failure.reason);
      if (this.#hasEnded) return;
      if (failure.final) this.#end(failure);
      else await this.#wait(failure, Date.now() - openedAt);
    }
  }

  /** One connection. Returns why it is over. */
  async #connect(reason) {
    this.#abort.abort();
    const { signal } = (this.#abort = new AbortController());
    this.#set({ name: "connecting", reason });
    this.#heardAt = Date.now();
    this.#ticker = setInterval(() => this.#listen(), this.#silence / 3);
    try {
      return await (Date.now() < this.#pollUntil ? this.#poll(signal) : this.#stream(signal));
    } catch (error) {
      if (signal.aborted) return signal.reason;
      return error.reason ? error : { reason: "network", error };
    } finally {
      clearInterval(this.#ticker);
    }
  }

  async #stream(signal) {
    const response = await this.#request(signal, this.url, EVENT_STREAM);
    const failure = failureOf(response, EVENT_STREAM);
    if (failure) return this.#refused(failure);
    this.#open(response, "stream");
    const fallback = this.#watchForBuffering();
    const decoder = new Decoder(this.position.id);
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        clearTimeout(fallback);
        if (done) return { reason: "closed" };
        this.#pollingTime = POLLING_TIME;
        // A shared connection is decoded once, by its leader.
        const events = value.events ?? decoder.push(value);
        this.#retry = decoder.retry ?? this.#retry;
        await this.#take(events, value.id ?? decoder.id);
      }
    } finally {
      clearTimeout(fallback);
    }
  }

  /** Long polling, until it is time to try a stream again. */
  async #poll(signal) {
    const url = new URL(this.url);
    const query = url.searchParams;
    query.set("format", "json");
    query.set("wait", `${Math.min(POLL_WAIT, this.#silence / 2)}ms`);
    while (Date.now() < this.#pollUntil) {
      if (this.position.id) query.set("last_event_id", this.position.id);
      const response = await this.#request(signal, url, JSON_TYPE);
      const failure = failureOf(response, JSON_TYPE);
      if (failure?.final && failure.status) {
        // The server has no pages, or the stream is told the same.
        this.#fallbackIsOff = true;
        this.#pollUntil = 0;
        return { now: true };
      }
      if (failure) return failure;
      if (this.state.name !== "open") this.#open(response, "poll");
      const { events, next, gap, ended } = await response.json();
      await this.#take([
        ...(gap ? [{ type: "carafe.gap", data: JSON.stringify(gap), id: this.position.id }] : []),
        ...events.map((event) => ({
          type: event.type ?? "message", data: query.has("envelope") ? JSON.stringify(event) : event.data, id: event.id,
        })),
      ], next);
      if (ended) return { final: true, reason: "done" };
    }
    return { now: true };
  }

  async #request(signal, url, accept) {
    const { headers, token, method, body, fetch = globalThis.fetch, withCredentials, share } = this.#options;
    const init = { method, signal, cache: "no-store", credentials: withCredentials ? "include" : "same-origin" };
    try {
      init.headers = new Headers(await valueOf(headers));
      init.body = await valueOf(body);
      const bearer = await valueOf(token, { refused: this.#isRefused });
      if (bearer) init.headers.set("authorization", `Bearer ${bearer}`);
    } catch (error) {
      throw { reason: "token", error };
    }
    init.headers.set("accept", accept);
    if (accept === EVENT_STREAM && this.position.id) init.headers.set("last-event-id", asBytes(this.position.id));
    if (!share) return fetch(url, init);
    const { Member } = await import("./share/member.js");
    this.#member ??= new Member(url, this.#options, { Stream, Decoder, failureOf, asBytes });
    return this.#member.connect(init, this.position.id);
  }

  /** A token that is refused may have expired on the way: the function is called once more. */
  #refused(failure) {
    if (failure.status !== 401 || this.#isRefused || typeof this.#options.token !== "function") return failure;
    this.#isRefused = true;
    return { now: true };
  }

  #open(response, transport) {
    this.#isRefused = false;
    this.#heardAt = Date.now();
    this.#set({ name: "open", response, status: response.status, transport });
  }

  async #take(events, id) {
    this.#heardAt = Date.now();
    if (events.length) {
      this.lastEventTime = this.#heardAt;
      if (events.some(({ type }) => !type.startsWith("carafe."))) this.#failures = 0;
      this.#isBusy = true;
      await this.#deliver(events);
      this.#isBusy = false;
      this.#heardAt = Date.now();
    }
    if (!this.#hasEnded) this.position.commit(id);
  }

  /** Also late, when the timers of the page or the computer slept: the connection is as old then. */
  #listen() {
    if (this.#isBusy) this.#heardAt = Date.now();
    else if (Date.now() - this.#heardAt >= this.#silence) this.#abort.abort({ reason: "silence", now: true });
  }

  /** If nothing arrives after the head of the response, something on the way buffers it. */
  #watchForBuffering() {
    const { fallback, share } = this.#options;
    if (!fallback || share || this.#fallbackIsOff) return;
    return setTimeout(() => {
      this.#pollUntil = Date.now() + this.#pollingTime;
      this.#pollingTime *= 2;
      this.#abort.abort({ reason: "buffered", now: true });
    }, fallback === true ? FALLBACK_AFTER : fallback);
  }

  async #wait(why, lasted) {
    const { now, after = 0, until } = why;
    if (now || (why === HIDDEN && !this.#isHidden)) return;
    const backoff = Math.min(LONGEST_BACKOFF, Math.max(this.#retry, LEAST_BACKOFF) * 2 ** this.#failures);
    this.#failures = lasted > backoff ? 0 : this.#failures + 1;
    // What the server asks for is a lower bound, so jitter is added to it.
    const delay = Math.max(after, this.#retry) + Math.random() * backoff;
    this.#earliest = Date.now() + after;
    this.#until = this.#isHidden ? Infinity : until ?? Date.now() + delay;
    this.#set({ ...why, name: "waiting", until: this.#until });
    for (let left; (left = this.#until - Date.now()) > 0 && !this.#hasEnded;) {
      let timer;
      await new Promise((resolve) => {
        this.#wakeUp = resolve;
        timer = setTimeout(resolve, Math.min(left, LONGEST_TIMER));
      });
      clearTimeout(timer);
    }
  }

  #hide() {
    this.#isHidden = true;
    if (this.state.name === "waiting") this.#set({ ...this.state, until: (this.#until = Infinity) });
    else this.#abort.abort(HIDDEN);
  }

  /** A server that has asked for a pause gets it: `#earliest`. */
  #wake(reason) {
    const wasHidden = this.#isHidden;
    this.#isHidden = false;
    if (this.state.name === "waiting") {
      this.#until = Math.min(this.#until, this.#earliest);
      this.#wakeUp();
    } else if (reason === "online" || wasHidden) this.#abort.abort({ reason, now: true });
    else this.#listen();
  }

  #end(why) {
    if (this.#hasEnded) return;
    this.#unwatch();
    clearInterval(this.#ticker);
    this.#member?.leave();
    this.#set({ name: "ended", ...why });
    if (why.reason === "aborted") this.#abort.abort(why);
    this.#wakeUp();
  }

  #set(state) {
    this.state = { ...state, lastEventTime: this.lastEventTime };
    this.#onState?.(this.state);
  }
}
