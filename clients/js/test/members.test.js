// What a tab of a shared stream does when its leader changes, is late or has no connection.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { EventSource, subscribe } from "../src/index.js";
import { numbers, until } from "./support/chromium.js";
import { namesOf } from "./support/read.js";
import { serve, stream } from "./support/server.js";
import { event, playLeader, pretendLocks } from "./support/tabs.js";

const NOWHERE = "http://127.0.0.1:9/events";
const admit = () => ({ events: [], id: "0" });

/** A member that reads. Its loop ends with the test. */
function join(t, url, options = {}) {
  const member = { data: [], states: [] };
  member.subscription = subscribe(url, { share: true, retry: 10, ...options, onState: (state) => member.states.push(state) });
  t.after(() => member.subscription.close());
  member.end = (async () => {
    for await (const { data } of member.subscription) {
      member.data.push(data);
      await options.handle?.(data);
    }
  })();
  return member;
}

const hasRead = (member, count) => until(`${count} events`, () => member.data.length >= count);

test("a shared stream that is closed before its first request leads nobody", async (t) => {
  const held = pretendLocks(t);
  const { url, requests } = await serve(t, stream("data: a\n\n"));
  const source = new EventSource(url, { share: true });
  const seen = [];
  for (const type of ["open", "message"]) source.addEventListener(type, () => seen.push(type));
  // After the request has begun to load what it needs.
  await null;
  await null;
  source.close();
  const other = new EventSource(url, { share: "another", retry: 10 });
  t.after(() => other.close());
  await once(other, "message");
  assert.deepEqual([seen, source.state.name, requests.length, held.size], [[], "ended", 1, 1]);
});

test("a stream that is closed while its response arrives stays closed", async (t) => {
  const { url, requests } = await serve(t, stream("data: a\n\n"));
  const states = [];
  const subscription = subscribe(url, {
    retry: 10, onState: (state) => states.push(state),
    fetch: async (...request) => {
      const response = await fetch(...request);
      subscription.close();
      return response;
    },
  });
  assert.deepEqual(await subscription.next(), { done: true });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual([namesOf(states), requests.length], [["connecting", "ended aborted"], 1]);
});

test("what a former leader says while a new one is asked is not taken", async (t) => {
  pretendLocks(t);
  const leader = playLeader(t, NOWHERE, admit);
  const member = join(t, NOWHERE, { lastEventId: "0" });
  await until("a member", () => leader.questions.length === 1);
  leader.say({ from: "a", events: [event(1)], id: "1" });
  await hasRead(member, 1);
  leader.answer = () => {};
  leader.say({ from: "b", leads: true });
  await until("a question", () => leader.questions.length === 2);
  leader.say({ from: "a", events: [event(2)], id: "2" });
  const { join: to, ask, id } = leader.questions[1];
  assert.equal(id, "1");
  leader.say({ from: "b", to, ask, events: [event(2)], id: "2" });
  leader.say({ from: "b", events: [event(3)], id: "3" });
  await hasRead(member, 3);
  assert.deepEqual(member.data, numbers(3, 1));
});

test("a leader that answers keeps the lock of a quiet stream", async (t) => {
  t.mock.timers.enable({ apis: ["Date", "setInterval"], now: 1e12 });
  t.after(() => t.mock.timers.reset());
  const held = pretendLocks(t);
  const leader = playLeader(t, NOWHERE, admit);
  const [lock] = held.values();
  join(t, NOWHERE, { lastEventId: "0", silence: 0 });
  await until("a member", () => leader.questions.length === 1);
  for (let second = 0; second < 60; second += 5) {
    t.mock.timers.tick(5000);
    // The question and its answer pass.
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal([...held.values()][0], lock);
});

test("a member waits by itself where its leader's next attempt is late", async (t) => {
  pretendLocks(t);
  const leader = playLeader(t, NOWHERE, () => ({ down: { reason: "network", until: Date.now() - 5, final: false } }));
  const { states } = join(t, NOWHERE, { retry: 60_000 });
  await until("a state", () => states.at(-1)?.name === "waiting");
  assert.ok(states.at(-1).until > Date.now() + 30_000);
  assert.equal(leader.questions.length, 1);
});

test("a member that reads by itself goes on while the leader has no connection", async (t) => {
  pretendLocks(t);
  let response;
  const { url } = await serve(t, (own) => { response = own; stream("id: 1\ndata: 1\n\n")(own); });
  const leader = playLeader(t, url, ({ ask }) => (ask === 1 ? { unknown: true } : { down: { reason: "network", until: Date.now() + 500 } }));
  const member = join(t, url, { lastEventId: "0", silence: 0 });
  await hasRead(member, 1);
  response.write("id: 2\ndata: 2\n\n");
  await hasRead(member, 2);
  assert.deepEqual([member.data, leader.questions.map(({ id }) => id)], [["1", "2"], ["0", "1", "2"].slice(0, leader.questions.length)]);
});

test("a member that cannot read by itself tells why, and asks again", async (t) => {
  pretendLocks(t);
  const { url } = await serve(t, (response) => response.writeHead(503).end());
  const leader = playLeader(t, url, admit);
  const { states } = join(t, url, { lastEventId: "0", silence: 0 });
  await until("a member", () => states.at(-1)?.name === "open");
  leader.answer = () => ({ unknown: true });
  leader.say({ from: "b", leads: true });
  await until("a failure", () => namesOf(states).includes("waiting status"));
  leader.answer = admit;
  await until("the leader", () => states.at(-1).name === "open");
});

test("a slow member keeps little of what its leader sends, and misses nothing", async (t) => {
  pretendLocks(t);
  const data = "x".repeat(10_000);
  const all = numbers(2000, 1).map((id) => ({ type: "message", data: `${id} ${data}`, id }));
  const leader = playLeader(t, NOWHERE, ({ id }) => ({ events: all.slice(Number(id), Number(id) + 100), id: String(Math.min(2000, Number(id) + 100)) }));
  let go;
  const isSent = new Promise((resolve) => { go = resolve; });
  const member = join(t, NOWHERE, { lastEventId: "0", handle: () => isSent });
  await hasRead(member, 1);
  for (let at = 100; at < 2000; at += 100) leader.say({ from: "a", events: all.slice(at, at + 100), id: String(at + 100) });
  await new Promise((resolve) => setTimeout(resolve, 50));
  go();
  await until("the rest", () => {
    // The leader has sent all. It answers questions.
    const read = Number(member.subscription.lastEventId);
    if (member.data.length < 2000 && read % 100 === 0) leader.say({ from: "a", leads: true });
    return member.data.length >= 2000;
  });
  assert.deepEqual(member.data.map((text) => text.split(" ")[0]), numbers(2000, 1));
  assert.ok(leader.questions.length > 1, "everything was kept");
});

test("the last events of a shared stream precede its end", async (t) => {
  pretendLocks(t);
  const leader = playLeader(t, NOWHERE, admit);
  let go;
  const isSent = new Promise((resolve) => { go = resolve; });
  const member = join(t, NOWHERE, { lastEventId: "0", handle: () => isSent });
  await until("a member", () => leader.questions.length === 1);
  for (const number of [1, 2]) leader.say({ from: "a", events: [event(number)], id: String(number) });
  leader.say({ from: "a", down: { reason: "done", final: true } });
  await hasRead(member, 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  go();
  await member.end;
  assert.deepEqual([member.data, member.states.at(-1).reason], [["1", "2"], "done"]);
});

test("a leader that closes answers no one later", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => t.mock.timers.reset());
  pretendLocks(t);
  const { url } = await serve(t, stream("id: 5\ndata: 5\n\n"));
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const leader = join(t, url);
  while (leader.data.length < 1) await turn();
  const errors = [];
  const note = (error) => errors.push(error);
  process.on("uncaughtException", note);
  t.after(() => process.off("uncaughtException", note));
  join(t, url, { lastEventId: "old" });
  for (let number = 0; number < 50; number++) await turn();
  leader.subscription.close();
  t.mock.timers.tick(10_000);
  for (let number = 0; number < 50; number++) await turn();
  assert.deepEqual(errors, []);
});
