// One stream from its first connection to its end: the state machine that all else stands on.
import { Decoder } from "./decoder.js";
import { watchPage } from "./page.js";
import { Position } from "./position.js";
import { failureOf } from "./response.js";
import {
  FALLBACK_AFTER, LEAST_BACKOFF, LONGEST_BACKOFF, LONGEST_RETRY, LONGEST_TIMER, POLLING_TIME, POLL_WAIT,
} from "./times.js";

const EVENT_STREAM = "text/event-stream";
const HIDDEN = { reason: "hidden" };
/** In the place of what is read at the end. */
const CLOSED = { failure: { reason: "closed" } };
/** The next attempt follows without a wait. */
const NOW = { now: true };

const valueOf = (option, argument) => (typeof option === "function" ? option(argument) : option);

const sleep = (time, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, time);
  signal.addEventListener("abort", () => resolve(clearTimeout(timer)));
});

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
  #firstByte;
  /** Milliseconds without a byte of a stream, after which it is replaced by pages; 0 for never. */
  #fallback;
  #hasPages = false;
  #member;
  #heardAt;
  #retry;
  #failures = 0;
  #until = 0;
  #earliest = 0;
  #wakeUp = () => {};
  #pollUntil = 0;
  #pollingTime = POLLING_TIME;

  /**
   * `deliver` takes what has arrived: the events, if any, and the last event ID. It may return a promise: nothing is read
   * until it resolves.
   */
  constructor(url, options, deliver, onState) {
    this.url = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    const { heartbeat, silence = heartbeat * 3 || 45_000, retry = 2000, signal, fallback, share } = options;
    if (heartbeat) this.url.searchParams.set("heartbeat", `${heartbeat}ms`);
    this.position = new Position(options);
    this.#options = options;
    this.#silence = silence || LONGEST_TIMER;
    // The leader of a shared stream polls for all.
    this.#fallback = !share && (fallback === true ? FALLBACK_AFTER : fallback);
    this.#deliver = deliver;
    this.#onState = onState;
    this.#retry = retry;
    const close = () => this.close();
    const unwatch = watchPage(options.background, () => this.#hide(), (reason) => this.wake(reason));
    this.#unwatch = () => {
      unwatch();
      signal?.removeEventListener("abort", close);
    };
    signal?.addEventListener("abort", close);
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
    // An error of a handler has ended the connection before.
    this.#isBusy = false;
    this.#ticker = setInterval(() => this.#listen(), this.#silence / 3);
    try {
      return await (Date.now() < this.#pollUntil ? this.#poll(signal) : this.#stream(signal));
    } catch (error) {
      if (signal.aborted) return signal.reason;
      return error.reason ? error : { reason: "network", error };
    } finally {
      clearInterval(this.#ticker);
      clearTimeout(this.#firstByte);
    }
  }

  async #stream(signal) {
    if (this.#fallback && !this.position.id) {
      // Without a position, events would be lost between a stream that is buffered and the first page.
      const failure = await this.#page(signal);
      if (failure) return failure;
    }
    const response = await this.#request(signal, this.url, EVENT_STREAM);
    const failure = failureOf(response, EVENT_STREAM);
    if (failure) return this.#refused(failure);
    this.#open(response, "stream");
    const decoder = new Decoder(this.position.id);
    const reader = response.body.getReader();
    for (;;) {
      const { value = CLOSED } = await reader.read();
      clearTimeout(this.#firstByte);
      if (value.failure) return value.failure;
      this.#pollingTime = POLLING_TIME;
      // A shared connection is decoded once, by its leader.
      const events = value.events ?? decoder.push(value);
      this.#retry = Math.min(decoder.retry ?? this.#retry, LONGEST_RETRY);
      await this.#take(events, value.id ?? decoder.id);
    }
  }

  /** Long polling, until it is time to try a stream again. The first page does not wait: it shows that there are pages. */
  async #poll(signal) {
    for (let wait = 0, left; (left = this.#pollUntil - Date.now()) > 0; wait = POLL_WAIT) {
      const failure = await this.#page(signal, Math.min(left, wait, this.#silence / 2) | 0);
      if (failure) return failure;
    }
    return NOW;
  }

  /** Reads one page of the hub, or all of a snapshot. Returns why there are no more. `wait` is missing before a stream. */
  async #page(signal, wait, continues) {
    const { readPage } = await import("./pages.js");
    const request = (url, accept) => this.#request(signal, url, accept);
    const askedAt = Date.now();
    const { failure, isMissing, response, events, id, ended, more } =
      await readPage(this.url, this.position.id, wait, request, failureOf, continues);
    if (isMissing && !this.#hasPages) {
      // The server has no pages, or the stream is told the same.
      this.#fallback = this.#pollUntil = 0;
      return NOW;
    }
    if (failure) return this.#refused(failure);
    this.#hasPages = true;
    if (wait >= 0 && this.state.name !== "open") this.#open(response, "poll");
    await this.#take(events, id);
    if (ended) return { final: true, reason: "done" };
    if (more) return this.#page(signal, wait, more);
    // A server that does not wait is asked no more often than others that end their answer.
    if (wait && !events.length) await sleep(askedAt + this.#retry - Date.now(), signal);
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
    if (accept === EVENT_STREAM && this.position.id) {
      // Header values are bytes, and IDs are UTF-8.
      init.headers.set("last-event-id", String.fromCharCode(...new TextEncoder().encode(this.position.id)));
    }
    const { Member } = share && globalThis.navigator?.locks ? await import("./share/member.js") : {};
    // The stream may have ended, or the page may have been hidden, meanwhile.
    signal.throwIfAborted();
    if (accept === EVENT_STREAM && this.#fallback) this.#firstByte = setTimeout(() => this.#fallBack("buffered"), this.#fallback);
    if (!Member) return fetch(url, init);
    return (this.#member ??= new Member(url, this.#options, Stream)).connect(init, this.position.id);
  }

  /** A token that is refused may have expired on the way: the function is called once more. */
  #refused(failure) {
    if (failure.status !== 401 || this.#isRefused || typeof this.#options.token !== "function") return failure;
    this.#isRefused = true;
    return NOW;
  }

  #open(response, transport) {
    this.#isRefused = false;
    this.#heardAt = Date.now();
    this.#set({ name: "open", response, status: response.status, transport });
  }

  async #take(events, id) {
    if (events.length) {
      this.lastEventTime = Date.now();
      if (events.some(({ type }) => !type.startsWith("carafe."))) this.#failures = 0;
    }
    this.#isBusy = true;
    await this.#deliver(events, id);
    this.#isBusy = false;
    this.#heardAt = Date.now();
    if (!this.#hasEnded) this.position.commit(id);
  }

  /** Also late, when the timers of the page or the computer slept: the connection is as old then. */
  #listen() {
    const quiet = Date.now() - this.#heardAt;
    // The clock may have been set back.
    if (this.#isBusy || quiet < 0) this.#heardAt = Date.now();
    else if (quiet >= this.#silence) this.#fallBack("silence");
  }

  /**
   * Something on the way buffers a stream of which nothing arrives: some proxies hold back its head, too. Others let
   * through what fills their buffers, and the heartbeats do not.
   */
  #fallBack(reason) {
    if (this.#fallback) {
      this.#pollUntil = Date.now() + this.#pollingTime;
      this.#pollingTime *= 2;
    }
    this.#reconnect(reason);
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
        // Timers go on when the clock is set back.
        timer = setTimeout(() => resolve(left < LONGEST_TIMER && (this.#until = 0)), Math.min(left, LONGEST_TIMER));
      });
      clearTimeout(timer);
    }
  }

  #hide() {
    this.#isHidden = true;
    // A page that runs no code leads nobody.
    this.#member?.leave();
    if (this.state.name === "waiting") this.#set({ ...this.state, until: (this.#until = Infinity) });
    else this.#abort.abort(HIDDEN);
  }

  /** A server that has asked for a pause gets it: `#earliest`. */
  wake(reason) {
    const wasHidden = this.#isHidden;
    this.#isHidden = false;
    if (this.state.name === "waiting") {
      this.#until = Math.min(this.#until, this.#earliest);
      this.#wakeUp();
    } else if (reason === "online" || wasHidden) this.#reconnect(reason);
    else this.#listen();
  }

  #reconnect(reason) {
    this.#abort.abort({ reason, ...NOW });
  }

  #end(why) {
    this.#unwatch();
    clearInterval(this.#ticker);
    this.#member?.leave();
    this.#set({ name: "ended", ...why });
    if (why.reason === "aborted") this.#abort.abort(why);
    this.#wakeUp();
  }

  /** Nothing follows the end. */
  #set(state) {
    if (this.#hasEnded) return;
    this.state = { ...state, lastEventTime: this.lastEventTime };
    try {
      this.#onState?.(this.state);
    } catch (error) {
      // An error of the page is one of its console, and does not end the stream.
      queueMicrotask(() => { throw error; });
    }
  }
}
