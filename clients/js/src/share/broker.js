// The one tab that has the connection.
import { isStartOpen } from "../start.js";

/** A tab may know more than a new leader, which then receives it in a moment: so long it is not sent away. */
const PATIENCE = 2000;

/** Options of a connection that is not shared itself, and begins after this ID. */
export const asUnshared = (options, lastEventId) => ({
  ...options, lastEventId, share: false, resume: undefined, background: "keep", signal: undefined,
});

export class Broker {
  #channel;
  #recent;
  #stream;
  #beginsAtTail;
  #waiting = new Set();
  #saidAt = 0;
  #isOpen = false;
  /** What members are told while the connection waits or has ended. */
  #down;
  #name = crypto.randomUUID();

  /** Continues after `recent`. */
  constructor(Stream, url, options, channel, recent) {
    this.#channel = new BroadcastChannel(channel);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#recent = recent;
    this.#beginsAtTail = isStartOpen(url.searchParams);
    const own = asUnshared(options, recent.id);
    this.#stream = new Stream(url, own, (events, id) => this.#publish(events, id), (state) => this.#change(state));
    this.#say({ leads: true });
  }

  /** Where nobody leads yet, members ask who does now. */
  close(isReplaced) {
    this.#waiting.clear();
    this.#stream.close();
    if (!isReplaced) this.#say({ leads: true });
    this.#channel.close();
  }

  #say(message) {
    this.#channel.postMessage({ from: this.#name, ...message });
  }

  /** To the question of a member with its number. */
  #reply({ join, ask }, answer) {
    this.#say({ to: join, ask, ...answer });
  }

  /** Also without events: members learn that the connection is alive. */
  #publish(events, id) {
    const now = Date.now();
    if (!events.length && id === this.#recent.id && now - this.#saidAt < 1000) return;
    this.#saidAt = now;
    this.#recent.push(events, id);
    this.#say({ events, id });
    for (const member of this.#waiting) this.#admit(member);
  }

  #hear(message) {
    if (message.ping) this.#say({});
    if (!message.join) return;
    if (this.#isOpen) return this.#receive(message);
    if (this.#down && (this.#down.final || this.#down.until > Date.now())) return this.#reply(message, { down: this.#down });
    // The timers of a hidden tab are late, and those of the member are not.
    if (this.#down) this.#stream.wake("online");
    this.#waiting.add(message);
  }

  #receive(member) {
    if (this.#admit(member)) return;
    if (!member.isDirect) return this.#keepWaiting(member);
    this.#waiting.delete(member);
    this.#reply(member, { unknown: true });
  }

  /** Gives a member what it has missed. From now on, it receives what all do. */
  #admit(member) {
    const { id, isDirect } = member;
    const isNew = id === "" && this.#beginsAtTail && !isDirect;
    const events = isNew ? [] : this.#recent.after(id);
    if (!events) return false;
    this.#waiting.delete(member);
    this.#reply(member, { events, id: this.#recent.id });
    return true;
  }

  #keepWaiting(member) {
    this.#waiting.add(member);
    setTimeout(() => {
      if (this.#waiting.delete(member)) this.#reply(member, { unknown: true });
    }, PATIENCE);
  }

  /** Members see a failure as their own. They come back when the connection does. */
  #change({ name, reason, status, until }) {
    // A page that is hidden for the browser leaves at once.
    if (reason === "aborted" || reason === "hidden") return;
    this.#isOpen = name === "open";
    this.#down = name === "waiting" || name === "ended" ? { reason, status, until, final: name === "ended" } : undefined;
    if (this.#isOpen) for (const member of this.#waiting) this.#receive(member);
    if (!this.#down) return;
    this.#say({ down: this.#down });
    for (const member of this.#waiting) this.#reply(member, { down: this.#down });
    this.#waiting.clear();
  }
}
