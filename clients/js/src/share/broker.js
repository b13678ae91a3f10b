// The one tab that has the connection. Any broker is a right source of events, also one that another tab has replaced and that
// does not know it yet: its events come from the server, and a member follows one broker at a time.
import { isStartOpen } from "../start.js";

/** A tab may know more than a new leader, which then receives it in a moment: so long it is not sent away. */
const PATIENCE = 2000;

export class Broker {
  #channel;
  #recent;
  #stream;
  #beginsAtTail;
  /** The questions that cannot be answered yet, by their members. */
  #waiting = new Map();
  #isOpen = false;
  /** What members are told while the connection waits or has ended. */
  #down;
  #name = crypto.randomUUID();

  /** Continues after `recent`. */
  constructor(Stream, url, options, group, recent) {
    this.#channel = new BroadcastChannel(group);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#recent = recent;
    this.#beginsAtTail = isStartOpen(url.searchParams);
    // Members store its position: each learns an ID that comes without an event, too.
    const storage = { getItem: () => recent.id, setItem: (_, id) => this.#publish([], id) };
    const own = { ...options, share: false, resume: group, storage, background: "keep", signal: undefined };
    this.#stream = new Stream(url, own, (events) => this.#publish(events, events.at(-1).id), (state) => this.#change(state));
    this.#say({ leads: true });
  }

  close() {
    this.#stream.close();
    this.#waiting.clear();
    this.#say({ leaves: true });
    this.#channel.close();
    this.#channel = undefined;
  }

  #say(message) {
    this.#channel?.postMessage({ from: this.#name, ...message });
  }

  #reply({ member, ask }, answer) {
    this.#say({ to: member, ask, ...answer });
  }

  #publish(events, id) {
    if (!events.length && id === this.#recent.id) return;
    this.#recent.push(events, id);
    this.#say({ events, id });
    for (const question of this.#waiting.values()) this.#admit(question);
  }

  /** Answers at once, if only that there is a leader. */
  #hear(question) {
    const { member, isAlone } = question;
    if (!member || (this.#isOpen && this.#admit(question))) return;
    // It reads on by itself.
    if (isAlone) return this.#reply(question, { unknown: true });
    if (this.#down?.until > Date.now()) return this.#reply(question, { down: this.#down });
    this.#keep(question);
    this.#say({});
    // The timers of this tab may be late, as those of hidden tabs are.
    if (!this.#isOpen) this.#stream.wake();
  }

  /** Gives a member what it has missed. From now on, it receives what all do. */
  #admit(question) {
    const { member, id, isAlone } = question;
    const isNew = id === "" && this.#beginsAtTail && !isAlone;
    const events = isNew ? [] : this.#recent.after(id);
    if (!events) return false;
    this.#waiting.delete(member);
    this.#reply(question, { events, id: this.#recent.id });
    return true;
  }

  /** A member asks again as long as it waits: that limits its wait where the timers of this tab are late. */
  #keep(question) {
    const { member } = question;
    const { since = Date.now() } = this.#waiting.get(member) ?? {};
    this.#waiting.set(member, { ...question, since });
    const refuse = () => {
      if (this.#waiting.get(member)?.since !== since) return;
      this.#reply(this.#waiting.get(member), { unknown: true });
      this.#waiting.delete(member);
    };
    if (this.#isOpen && Date.now() - since >= PATIENCE) refuse();
    else if (this.#isOpen) setTimeout(refuse, PATIENCE);
  }

  /** Members see a failure as their own. They come back when the connection does. */
  #change({ name, reason, status, until = Infinity }) {
    if (reason === "aborted" || reason === "hidden") return;
    this.#isOpen = name === "open";
    const final = name === "ended";
    this.#down = final || name === "waiting" ? { reason, status, until, final } : undefined;
    if (this.#down) this.#say({ down: this.#down });
    if (name === "connecting") return;
    const questions = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const question of questions) this.#hear(question);
  }
}
