// Tabs of a browser in one process: BroadcastChannel and Web Locks with delays, tabs that hang, freeze, close and crash.
import { AsyncLocalStorage } from "node:async_hooks";
import { Clock } from "./clock.js";
import { random } from "./random.js";

const SOURCES = ["channel", "lock", "network", "page", "timer"];
const current = new AsyncLocalStorage();

/** The tab whose code runs. */
export const thisTab = () => current.getStore();

/** Runs what belongs to no tab. */
export const outside = (task) => current.exit(task);

class Tab {
  isHung = false;
  isGone = false;
  page = new EventTarget();
  hidden = false;
  #hasTimers = true;
  #inbox = [];

  /** Runs a task in this tab: now, or when it does not hang any more. Timers of an interval are not repeated meanwhile. */
  enter(source, task) {
    if (this.isGone || (source === "timer" && !this.#hasTimers)) return;
    if (!this.isHung) current.run(this, task);
    else if (source !== "timer" || !this.#inbox.some((other) => other.task === task)) this.#inbox.push({ source, task });
  }

  /** As good as those of a tab in the background, which come late. */
  stopTimers() {
    this.#hasTimers = false;
  }

  hang() {
    this.isHung = true;
  }

  /** The tasks of one source are in order, and those of different sources are not. What promises do comes after each task. */
  wake({ pick }) {
    this.isHung = this.#inbox.length > 0;
    if (!this.isHung) return;
    const sources = SOURCES.filter((source) => this.#inbox.some((task) => task.source === source));
    const source = pick(sources);
    const [{ task }] = this.#inbox.splice(this.#inbox.findIndex((other) => other.source === source), 1);
    if (!this.isGone) current.run(this, task);
    setTimeout(() => this.wake({ pick }));
  }

  happen(type) {
    this.enter("page", () => this.page.dispatchEvent(new Event(type)));
  }
}

/** A browser whose tabs share one origin. All that happens follows from the seed. */
export class Browser {
  tabs = [];
  /** How often a tab got the lock. */
  leaders = 0;
  #random;
  #channels = new Set();
  #locks = new Map();

  constructor(t, seed) {
    this.#random = random(seed);
    this.clock = new Clock(t, seed, () => {
      const tab = thisTab();
      return (task) => (tab ? tab.enter("timer", task) : task());
    });
    this.#replace(t, {
      BroadcastChannel: channelsOf(this.#channels, () => this.#delay()),
      navigator: { locks: { request: (...args) => this.#request(...args) } },
      addEventListener: (...args) => thisTab()?.page.addEventListener(...args),
      removeEventListener: (...args) => thisTab()?.page.removeEventListener(...args),
      document: { get hidden() { return thisTab()?.hidden; } },
    });
  }

  #replace(t, globals) {
    for (const [name, value] of Object.entries(globals)) {
      const before = Object.getOwnPropertyDescriptor(globalThis, name);
      Object.defineProperty(globalThis, name, { value, configurable: true });
      t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
    }
  }

  /** Mostly short, at times long. */
  #delay() {
    const { next } = this.#random;
    return next() < 0.05 ? next() * 400 : next() * 3;
  }

  open(run) {
    const tab = new Tab();
    this.tabs.push(tab);
    tab.enter("page", () => run(tab));
    return tab;
  }

  get alive() {
    return this.tabs.filter((tab) => !tab.isGone);
  }

  /** The tab that has the lock. */
  get leader() {
    return [...this.#locks.values()].find(({ held }) => held)?.held.tab;
  }

  hang(tab, time) {
    tab.hang();
    setTimeout(() => tab.wake(this.#random), time);
  }

  /** As the browser does with a tab in the background, after an event that tells it. */
  freeze(tab, time) {
    tab.happen("freeze");
    tab.hang();
    setTimeout(() => {
      tab.wake(this.#random);
      tab.happen("resume");
    }, time);
  }

  /** A tab that is closed is told, and one that crashes is not. */
  close(tab) {
    tab.happen("pagehide");
    this.crash(tab);
  }

  crash(tab) {
    tab.isGone = true;
    for (const channel of [...this.#channels]) if (channel.tab === tab) this.#channels.delete(channel);
    for (const lock of this.#locks.values()) {
      lock.queue = lock.queue.filter((request) => request.tab !== tab);
      if (lock.held?.tab === tab) this.#release(lock, lock.held);
    }
  }

  #request(name, how, run) {
    if (!this.#locks.has(name)) this.#locks.set(name, { queue: [] });
    const lock = this.#locks.get(name);
    const { steal, signal } = how;
    return new Promise((resolve, reject) => {
      const request = { tab: thisTab(), run, resolve, reject };
      signal?.addEventListener("abort", () => {
        if (!lock.queue.includes(request)) return;
        lock.queue = lock.queue.filter((other) => other !== request);
        reject(signal.reason);
      });
      if (steal) this.#steal(lock);
      lock.queue[steal ? "unshift" : "push"](request);
      this.#grant(lock);
    });
  }

  #steal(lock) {
    const { held } = lock;
    lock.held = undefined;
    if (held) this.#later(held.tab, () => held.reject(new DOMException("stolen", "AbortError")));
  }

  #grant(lock) {
    if (lock.held || !lock.queue.length) return;
    const held = (lock.held = lock.queue.shift());
    this.leaders++;
    this.#later(held.tab, async () => {
      try {
        held.resolve(await held.run());
      } catch (error) {
        held.reject(error);
      }
      this.#release(lock, held);
    });
  }

  #release(lock, held) {
    if (lock.held !== held) return;
    lock.held = undefined;
    this.#grant(lock);
  }

  /** What a tab is told of its locks is in order. */
  #later(tab, task) {
    const now = this.clock.now;
    tab.toldAt = Math.max(tab.toldAt ?? 0, now + this.#random.next() * 2);
    outside(() => setTimeout(() => tab.enter("lock", task), tab.toldAt - now));
  }
}

/** The class of channels: messages of one sender to one receiver are in order, and others are not. */
function channelsOf(channels, delay) {
  return class BroadcastChannel {
    tab = thisTab();
    #arrivals = new Map();

    constructor(name) {
      this.name = name;
      channels.add(this);
    }

    postMessage(data) {
      if (!channels.has(this)) throw new DOMException("the channel is closed", "InvalidStateError");
      for (const channel of channels) if (channel !== this && channel.name === this.name) this.#send(channel, structuredClone(data));
    }

    #send(channel, data) {
      const now = Date.now();
      const at = Math.max(this.#arrivals.get(channel) ?? 0, now + (channel.tab === this.tab ? 0 : delay()));
      this.#arrivals.set(channel, at);
      const receive = () => channels.has(channel) && channel.onmessage({ data });
      outside(() => setTimeout(() => channel.tab.enter("channel", receive), at - now));
    }

    close() {
      channels.delete(this);
    }
  };
}
