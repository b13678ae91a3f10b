// The connection: one request for an event stream after the other, each after the last event ID.
//
// `fetch` instead of `EventSource`, which hides the status, the problem document and the wait, and never tries again
// after most of them. It also lets the page read at its own pace.
import { Parser } from "./parser.js";
import { count, nextTask } from "./pace.js";
import { problemOf } from "./problem.js";

const FIRST_RETRY_MS = 3_000;
const LONGEST_RETRY_MS = 30_000;
const CUT_MS = 3_000;
/** Three heartbeats of the stream that `view.js` asks for. */
const SILENCE_MS = 15_000;

/** How much is handed over in one task. */
export const SLICE = { events: 200, characters: 200_000 };

/**
 * States: `connecting`, `live`, `cut` (by the user), `waiting` (lost, to be tried again), `ended` (204), `refused`.
 * `until` is when the next attempt begins, by `performance.now()`, if there will be one.
 */
export class Stream {
  lastEventId = "";
  state = { name: "connecting", reason: "", until: null };
  #address;
  #onState;
  #onEvents;
  #attempt = null;
  #timer = 0;
  #retry = FIRST_RETRY_MS;
  #failures = 0;

  constructor({ address, onState, onEvents }) {
    [this.#address, this.#onState, this.#onEvents] = [address, onState, onEvents];
  }

  /** Opens the stream after an event, or where the view begins. */
  start(lastEventId = "") {
    this.lastEventId = lastEventId;
    this.#failures = 0;
    this.reconnect();
  }

  /** Connects now, whatever the state. */
  reconnect() {
    this.stop();
    this.#connect(new AbortController());
  }

  cut() {
    this.stop();
    this.#tryLater("cut", "Cut by you. What is published now arrives after the reconnect.", CUT_MS);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#attempt?.abort();
    this.#attempt = null;
  }

  async #connect(attempt) {
    this.#attempt = attempt;
    this.#set("connecting");
    const silence = new Silence(() => this.#isCurrent(attempt) && this.#lost(`Nothing came for ${SILENCE_MS / 1000} s.`));
    try {
      const signal = attempt.signal;
      const headers = { accept: "text/event-stream" };
      const response = await fetch(this.#address(this.lastEventId), { headers, signal, cache: "no-store" });
      silence.over();
      if (this.#isCurrent(attempt)) await this.#answered(response, attempt, silence);
    } catch {
      if (this.#isCurrent(attempt)) this.#lost(this.#whyLost());
    } finally {
      silence.stop();
    }
  }

  #whyLost() {
    return this.state.name === "live" ? "The connection was lost." : "The server does not answer.";
  }

  #isCurrent(attempt) {
    return this.#attempt === attempt;
  }

  async #answered(response, attempt, silence) {
    if (response.status === 204) return this.#finish("ended", "The server ended this stream for good: 204 No Content.");
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
    if (!response.ok || !isStream) return this.#refused(response, attempt);
    this.#set("live");
    const received = await this.#read(response.body, attempt, silence);
    if (!this.#isCurrent(attempt)) return;
    this.#lost(received ? "The server ended the stream." : "The server has no room now, and asks to come back later.");
  }

  /** Returns whether there was any event, the opening position included. */
  async #read(body, attempt, silence) {
    const parser = new Parser(this.lastEventId);
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let received = false;
    for (let piece; !(piece = await reader.read()).done; ) {
      silence.over();
      for (const slice of slices(parser.push(piece.value))) {
        // A task of its own, also when the next piece is there already: a burst must not block the page.
        await nextTask();
        if (!this.#isCurrent(attempt)) return received;
        received = this.#take(slice) || received;
      }
      this.lastEventId = parser.lastEventId;
    }
    return received;
  }

  #take(slice) {
    count("slice", slice.length);
    for (const { retry } of slice) if (retry !== undefined) this.#retry = retry;
    const events = slice.filter(({ retry }) => retry === undefined);
    if (events.length === 0) return false;
    this.#failures = 0;
    this.lastEventId = events.at(-1).lastEventId;
    try {
      this.#onEvents(events);
    } catch (error) {
      // A defect of the page is not a lost connection.
      reportError(error);
    }
    return true;
  }

  #lost(reason) {
    this.stop();
    this.#tryLater("waiting", reason, this.#wait());
  }

  /** Nothing that stays wrong is asked again: only what the server may answer otherwise later. */
  async #refused(response, attempt) {
    const text = response.ok ? "The response is no event stream." : (await problemOf(response)).text;
    if (!this.#isCurrent(attempt)) return;
    const passes = response.status >= 500 || [408, 425, 429].includes(response.status);
    if (!passes) return this.#finish("refused", text);
    const asked = Number(response.headers.get("retry-after")) * 1_000 || 0;
    this.stop();
    this.#tryLater("refused", text, Math.max(asked, this.#wait()));
  }

  #wait() {
    const wait = Math.min(this.#retry * 2 ** this.#failures, LONGEST_RETRY_MS);
    this.#failures += 1;
    return Math.max(this.#retry, wait);
  }

  #tryLater(name, reason, wait) {
    this.#timer = setTimeout(() => this.reconnect(), wait);
    this.#set(name, reason, performance.now() + wait);
  }

  #finish(name, reason) {
    this.stop();
    this.#set(name, reason);
  }

  #set(name, reason = "", until = null) {
    this.state = { name, reason, until };
    this.#onState(this.state);
  }
}

/** Calls when nothing was heard for too long: a connection may end without a word. */
class Silence {
  #timer = 0;
  #call;

  constructor(call) {
    this.#call = call;
    this.over();
  }

  over() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#call, SILENCE_MS);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

/** Groups what a parser yields, so that each group is little work. */
function* slices(found) {
  let [slice, characters] = [[], 0];
  for (const each of found) {
    slice.push(each);
    characters += each.data?.length ?? 0;
    if (slice.length < SLICE.events && characters < SLICE.characters) continue;
    yield slice;
    [slice, characters] = [[], 0];
  }
  if (slice.length) yield slice;
}
