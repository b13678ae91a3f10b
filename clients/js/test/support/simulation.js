// Tabs that share a stream of a simulated origin.
import assert from "node:assert/strict";
import { subscribe } from "../../src/index.js";
import "../../src/pages.js";
import "../../src/share/member.js";
import { Origin } from "./origin.js";
import { random } from "./random.js";
import { Browser } from "./tabs.js";

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const sleep = (time) => new Promise((resolve) => { setTimeout(resolve, time); });

const URL = "http://hub/events";

export class Simulation {
  constructor(t, seed, options = {}) {
    this.random = random(seed);
    this.browser = new Browser(t, seed);
    this.origin = new Origin(seed);
    this.options = { share: true, fetch: this.origin.fetch, ...options };
    this.isCalm = false;
  }

  /** `handle` is what the tab's loop does with an event. */
  open({ handle, ...options } = {}) {
    const { browser, origin } = this;
    const from = options.lastEventId;
    return browser.open((tab) => {
      Object.assign(tab, { from, openedAt: undefined, seen: [], states: [] });
      const onState = ({ name, reason }) => {
        tab.states.push(`${name} ${reason ?? ""}`.trim());
        if (name === "open") tab.openedAt ??= origin.events;
      };
      tab.subscription = subscribe(URL, { ...this.options, ...options, onState });
      this.#read(tab, handle);
    });
  }

  async #read(tab, handle) {
    for await (const { data } of tab.subscription) {
      tab.seen.push(Number(data));
      if (handle && !this.isCalm) await handle();
    }
  }

  pass(time) {
    return this.browser.clock.pass(time);
  }

  crash(tab) {
    this.browser.crash(tab);
    this.origin.drop(tab);
  }

  close(tab) {
    this.browser.close(tab);
    this.origin.drop(tab);
  }

  /** Publishes until all tabs have all events. */
  async settle() {
    const { origin } = this;
    this.isCalm = true;
    Object.assign(origin, { isDown: false, buffers: false, loss: 0 });
    // Not while the leader polls.
    const haveAll = () => this.#connected.length === 1 && this.#connected[0] === this.browser.leader
      && this.#alive.every(({ seen, openedAt, from }) => openedAt !== undefined && (seen.at(-1) ?? Number(from ?? openedAt)) === origin.events);
    for (let round = 0; round < 60; round++) {
      await this.pass(5 * SECOND);
      if (round > 6 && haveAll()) return;
      if (round < 50) origin.publish(1);
    }
    const connected = this.#connected;
    const tabs = this.#alive.map((tab) => `${connected.includes(tab) ? "connected " : ""}at ${tab.seen.at(-1)}: ${tab.states.slice(-5)}`);
    assert.fail(`${origin.events} events, ${connected.length} connections; ${tabs.join("; ")}`);
  }

  get #connected() {
    return [...this.origin.connections].map(({ tab }) => tab);
  }

  /** Those that have a stream. */
  get #alive() {
    return this.browser.alive.filter(({ seen }) => seen);
  }

  /** A healthy leader is not replaced, and nobody else connects. */
  async staysCalm() {
    const { browser, origin } = this;
    const before = [origin.requests, browser.leaders];
    for (let round = 0; round < 10; round++) {
      await this.pass(6 * SECOND);
      if (round % 3 === 2) origin.publish(1);
    }
    assert.deepEqual([origin.requests, browser.leaders], before, "requests and leaders");
    await this.settle();
  }

  /** Each event once and in order, also in the tabs that are gone. */
  check() {
    this.browser.tabs.forEach(({ from, openedAt, seen = [] }, at) => {
      if (!seen.length) return;
      const first = from === undefined ? seen[0] : Number(from) + 1;
      const wrong = seen.findIndex((event, index) => event !== first + index);
      assert.equal(wrong, -1, `tab ${at}, whose first event is ${first}: ${seen.slice(Math.max(0, wrong - 2), wrong + 3)}`);
      // Else a stream that a proxy holds back has no position.
      if (from === undefined && this.options.fallback) assert.ok(first <= openedAt + 1, `tab ${at} begins with ${first}, and was open at ${openedAt}`);
    });
  }
}

const GROUP = `carafe:1 true ${URL}`;
export const event = (id) => ({ type: "message", data: String(id), id: String(id) });

/** A tab that leads as a test says. `answers` are those to the next questions, and the last one stays. */
export class ScriptedLeader {
  questions = [];
  #channel;

  constructor({ browser }, name, ...answers) {
    this.name = name;
    this.answers = answers;
    browser.open(() => {
      navigator.locks.request(GROUP, {}, () => new Promise(() => {}));
      this.#channel = new BroadcastChannel(GROUP);
      this.#channel.onmessage = ({ data }) => data.member && this.#hear(data);
    });
  }

  say(message) {
    this.#channel.postMessage({ from: this.name, ...message });
  }

  #hear(question) {
    this.questions.push(question);
    const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0];
    if (answer) this.reply(answer, question);
  }

  /** To the last question, if no other is given. */
  reply(answer, { member, ask } = this.questions.at(-1)) {
    this.say({ to: member, ask, ...answer });
  }
}
