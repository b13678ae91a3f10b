// Tabs of one origin in this process: Web Locks that all have in common, and a leader that a test plays.

/** Gives this process `navigator.locks`. Returns the names of the locks that are held. */
export function pretendLocks(t) {
  const held = new Map();
  const queues = new Map();
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { locks: { request } }, configurable: true });
  t.after(() => (before ? Object.defineProperty(globalThis, "navigator", before) : delete globalThis.navigator));
  return held;

  async function request(name, how, callback) {
    if (how.steal) {
      const victim = held.get(name);
      held.delete(name);
      victim?.reject(new DOMException("stolen", "AbortError"));
    } else if (held.has(name)) {
      await new Promise((resolve) => queues.set(name, [...(queues.get(name) ?? []), resolve]));
    }
    return grant(name, callback);
  }

  function grant(name, callback) {
    const lock = {};
    held.set(name, lock);
    return new Promise((resolve, reject) => {
      lock.reject = reject;
      Promise.resolve().then(callback).then(resolve, reject).finally(() => {
        if (held.get(name) !== lock) return;
        held.delete(name);
        queues.get(name)?.shift()?.();
      });
    });
  }
}

/** Holds the lock of `url`, and answers each question of a member by `answer(question)`. It speaks as `from`. */
export function playLeader(t, url, answer) {
  const group = `carafe:true ${url}`;
  navigator.locks.request(group, {}, () => new Promise(() => {}));
  const channel = new BroadcastChannel(group);
  const leader = { questions: [], answer, say: (message) => channel.postMessage(message) };
  channel.onmessage = ({ data }) => {
    if (data.ping) leader.say({ from: "a" });
    if (!data.join) return;
    leader.questions.push(data);
    const reply = leader.answer(data);
    if (reply) leader.say({ from: "a", to: data.join, ask: data.ask, ...reply });
  };
  t.after(() => channel.close());
  return leader;
}

export const event = (number) => ({ type: "message", data: String(number), id: String(number) });
