// One stream from its first connection to its end: the state machine that all else stands on.
import { Decoder } from "./decoder.js";
import { watchPage } from "./page.js";
import { Position } from "./position.js";
import { failureOf } from "./response.js";

const EVENT_STREAM = "text/event-stream";
const LONGEST_BACKOFF = 30_000;
const LEAST_BACKOFF = 100;
/** A server cannot stop a stream by a long `retry:`. */
const LONGEST_RETRY = 300_000;
/** Timers take 31 bits. */
const LONGEST_TIMER = 1e9;
const HIDDEN = { reason: "hidden" };
/** The next attempt follows without a wait. */
const NOW = { now: true };

const valueOf = (option, argument) => (typeof option === "function" ? option(argument) : option);
/** Header values are bytes, and IDs are UTF-8. */
const asBytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/** `url`, `position`, `silence`, `retry`, `wake` and what takes a signal are also for the modules that are loaded on demand. */
export class Stream {
  state = { name: "connecting" };
  #options;
  #deliver;
  #onState;
  #unwatch;
  #abort = new AbortController();
  #isShared;
  #isHidden = false;
  #isRefused = false;
  #isBusy = false;
  #ticker;
  #poller;
  #member;
  #heardAt;
  #failures = 0;
  #until = 0;
  #earliest = 0;
  #wakeUp = () => {};

  /** `deliver` takes each batch of events, and may return a promise: nothing is read until it resolves. */
  constructor(url, options, deliver, onState) {
    this.url = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    const { heartbeat, silence = heartbeat * 3 || 45_000, retry = 2000, signal, share } = options;
    if (heartbeat) this.url.searchParams.set("heartbeat", `${heartbeat}ms`);
    this.position = new Position(options);
    this.silence = silence || LONGEST_TIMER;
    this.retry = retry;
    this.#isShared = share && globalThis.navigator?.locks;
    this.#options = options;
    this.#deliver = deliver;
    this.#onState = onState;
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
    this.#ticker = setInterval(() => this.#listen(), this.silence / 3);
    try {
      return (await this.#poll(signal)) ?? (await this.#stream(signal));
    } catch (error) {
      if (signal.aborted) return signal.reason;
      return error.reason ? error : { reason: "network", error };
    } finally {
      clearInterval(this.#ticker);
      this.#poller?.unwatch();
    }
  }

  /** What is read as pages. Returns why no stream follows. */
  async #poll(signal) {
    const { fallback } = this.#options;
    if (!fallback) return;
    const { Poller } = await import("./pages.js");
    this.#poller ??= new Poller(this, fallback, this.#isShared);
    return this.#poller.poll(signal);
  }

  /** From the request of a stream to its first byte. */
  watch() {
    this.#poller?.watch(() => this.#reconnect("buffered"));
  }

  async #stream(signal) {
    const response = await this.request(signal, this.url, EVENT_STREAM);
    const failure = this.failureOf(response, EVENT_STREAM);
    if (failure) return failure;
    this.open(response, "stream");
    const decoder = new Decoder(this.position.id);
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { reason: "closed" };
      this.#poller?.hear();
      // A shared connection is decoded once, by its leader.
      const events = value.events ?? decoder.push(value);
      this.retry = Math.min(decoder.retry ?? this.retry, LONGEST_RETRY);
      await this.take(events, value.id ?? decoder.id);
    }
  }

  async request(signal, url, accept) {
    const { headers, token, method, body, fetch = globalThis.fetch, withCredentials } = this.#options;
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
    const isStream = accept === EVENT_STREAM;
    if (isStream && this.position.id) init.headers.set("last-event-id", asBytes(this.position.id));
    const isShared = isStream && this.#isShared;
    if (isStream && !isShared) this.watch();
    const response = await (isShared ? this.#share(init) : fetch(url, init));
    // The stream may have been closed or hidden meanwhile.
    signal.throwIfAborted();
    return response;
  }

  async #share(init) {
    const { Member } = await import("./share/member.js");
    this.#member ??= new Member(this, this.#options);
    return this.#member.connect(init);
  }

  /** Why a response is none of `type`. A token that is refused may have expired on the way: its function is called once more. */
  failureOf(response, type) {
    const failure = failureOf(response, type);
    if (failure?.status !== 401 || this.#isRefused || typeof this.#options.token !== "function") return failure;
    this.#isRefused = true;
    return NOW;
  }

  open(response, transport) {
    this.#isRefused = false;
    this.#heardAt = Date.now();
    this.#set({ name: "open", response, status: response.status, transport });
  }

  async take(events, id) {
    this.#heardAt = Date.now();
    if (events.length) {
      this.lastEventTime = this.#heardAt;
      if (events.some(({ type }) => !type.startsWith("carafe."))) this.#failures = 0;
      this.#isBusy = true;
      try {
        await this.#deliver(events);
      } finally {
        this.#isBusy = false;
        this.#heardAt = Date.now();
      }
    }
    if (!this.#hasEnded) this.position.commit(id);
  }

  /** Also late, when the timers of the page or the computer slept: the connection is as old then. */
  #listen() {
    const quiet = Date.now() - this.#heardAt;
    // The leader watches a connection that is shared. The clock may have been set back.
    if (this.#isBusy || this.#member?.isShared || quiet < 0) this.#heardAt = Date.now();
    else if (quiet >= this.silence) {
      // A proxy may let through what fills its buffer, and hold back heartbeats.
      this.#poller?.fallBack();
      this.#reconnect("silence");
    }
  }

  async #wait(why, lasted) {
    const { now, after = 0, until } = why;
    if (now || (why === HIDDEN && !this.#isHidden)) return;
    const backoff = Math.min(LONGEST_BACKOFF, Math.max(this.retry, LEAST_BACKOFF) * 2 ** this.#failures);
    this.#failures = lasted > backoff ? 0 : this.#failures + 1;
    // What the server asks for is a lower bound, so jitter is added to it.
    const delay = Math.max(after, this.retry) + Math.random() * backoff;
    this.#earliest = Date.now() + after;
    // The leader of a shared connection knows when it tries again.
    this.#until = this.#isHidden ? Infinity : until > Date.now() && until < Infinity ? until : Date.now() + delay;
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
    if (this.#hasEnded) return;
    this.#unwatch();
    clearInterval(this.#ticker);
    this.#member?.leave();
    this.#set({ name: "ended", ...why });
    if (why.reason === "aborted") this.#abort.abort(why);
    this.#wakeUp();
  }

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
