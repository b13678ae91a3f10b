// Virtual time: what waits for a timer runs in order, at once, and the same in each run.
import { random } from "./random.js";

const GLOBALS = ["setTimeout", "clearTimeout", "setInterval", "clearInterval"];
const real = { immediate: setImmediate };

/** Replaces timers, `Date.now` and `Math.random` until the test ends. `enter(task)` runs what a timer has set off. */
export class Clock {
  now = 1_800_000_000_000;
  #timers = new Map();
  #number = 0;

  constructor(t, seed, contextOf) {
    const before = GLOBALS.map((name) => globalThis[name]);
    t.after(() => GLOBALS.forEach((name, at) => { globalThis[name] = before[at]; }));
    t.mock.method(Date, "now", () => this.now);
    t.mock.method(Math, "random", random(seed).next);
    const start = (task, time = 0, every) => {
      this.#timers.set(++this.#number, { at: this.now + Math.max(0, time), every, task, enter: contextOf() });
      return this.#number;
    };
    const stop = (number) => { this.#timers.delete(number); };
    globalThis.setTimeout = (task, time) => start(task, time);
    globalThis.setInterval = (task, time) => start(task, time, time);
    globalThis.clearTimeout = globalThis.clearInterval = stop;
  }

  /** Lets this time pass. */
  async pass(time) {
    const end = this.now + time;
    await this.#settle();
    for (let next; (next = this.#next(end)); await this.#settle()) this.#fire(...next);
    this.now = end;
  }

  /** Waits until `probe` is true, for at most this virtual time. Returns whether it is. */
  async until(probe, limit) {
    for (const end = this.now + limit; !probe() && this.now < end;) await this.pass(100);
    return probe();
  }

  #next(end) {
    let first;
    for (const entry of this.#timers) if (entry[1].at <= end && (!first || entry[1].at < first[1].at)) first = entry;
    return first;
  }

  #fire(number, timer) {
    this.now = Math.max(this.now, timer.at);
    if (timer.every) timer.at = this.now + timer.every;
    else this.#timers.delete(number);
    timer.enter(timer.task);
  }

  /** All that follows of promises. */
  #settle() {
    return new Promise((resolve) => { real.immediate(resolve); });
  }
}
