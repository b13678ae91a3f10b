// How the members of a shared stream behave: in a simulated browser, in virtual time, some with a leader that a test writes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { event, MINUTE, ScriptedLeader, SECOND, Simulation, sleep } from "./support/simulation.js";

const nothing = (id) => ({ events: [], id: String(id) });
const simulate = (t, options) => new Simulation(t, 1, options);
const answerOf = (status, body = "") => new Response(body, { status, headers: { "content-type": "text/event-stream" } });

for (const [what, time] of [["at once", 0], ["while a token is awaited", 100]]) {
  test(`a shared stream that is closed ${what} takes neither the lock nor a connection`, async (t) => {
    const simulation = simulate(t, { token: () => sleep(time * 2) });
    const tab = simulation.open({ lastEventId: "0" });
    setTimeout(() => tab.enter("page", () => tab.subscription.close()), time);
    simulation.origin.publish(1);
    await simulation.pass(5 * SECOND);
    assert.deepEqual([tab.states.at(-1), simulation.origin.requests, simulation.browser.leader, tab.seen], ["ended aborted", 0, undefined, []]);
  });
}

test("a tab that is frozen while its token is awaited leads when it resumes", async (t) => {
  const simulation = simulate(t, { token: () => sleep(200) });
  const tab = simulation.open();
  await simulation.pass(100);
  tab.happen("freeze");
  await simulation.pass(SECOND);
  assert.deepEqual([tab.states.at(-1), simulation.origin.requests, simulation.browser.leader], ["waiting hidden", 0, undefined]);
  tab.happen("resume");
  await simulation.pass(SECOND);
  assert.deepEqual([tab.states.at(-1), simulation.origin.connections.size], ["open", 1]);
});

test("a tab that is frozen while the network is down gives the lock to another", async (t) => {
  const simulation = simulate(t);
  simulation.origin.loss = 1;
  const [first, second] = [simulation.open(), simulation.open()];
  await simulation.pass(10 * SECOND);
  assert.match(first.states.at(-1), /^waiting/);
  first.happen("freeze");
  simulation.origin.loss = 0;
  await simulation.pass(MINUTE);
  assert.deepEqual([simulation.browser.leader === second, second.states.at(-1)], [true, "open"]);
});

test("after a question, nothing of a former leader is taken", async (t) => {
  const simulation = simulate(t);
  const former = new ScriptedLeader(simulation, "A", nothing(0), undefined);
  const leader = new ScriptedLeader(simulation, "B", undefined);
  const tab = simulation.open({ lastEventId: "0" });
  await simulation.pass(SECOND);
  former.say({ events: [event(1)], id: "1" });
  await simulation.pass(SECOND);
  leader.say({ leads: true });
  await simulation.pass(SECOND);
  former.say({ events: [event(2)], id: "2" });
  await simulation.pass(SECOND);
  leader.reply({ events: [event(2)], id: "2" });
  former.reply({ events: [event(2)], id: "2" });
  await simulation.pass(SECOND);
  former.say({ events: [event(3)], id: "3" });
  leader.say({ events: [event(3)], id: "3" });
  await simulation.pass(SECOND);
  assert.deepEqual([tab.seen, leader.questions.at(-1).id], [[1, 2, 3], "1"]);
});

test("a member that reads by itself takes nothing of a leader that it followed", async (t) => {
  const simulation = simulate(t);
  const leader = new ScriptedLeader(simulation, "A", nothing(0), { unknown: true });
  const tab = simulation.open({ lastEventId: "0" });
  await simulation.pass(SECOND);
  leader.say({ leads: true });
  await simulation.pass(SECOND);
  simulation.origin.publish(1);
  leader.say({ events: [event(1)], id: "1" });
  await simulation.pass(SECOND);
  assert.deepEqual(tab.seen, [1]);
});

for (const [what, options] of [["", {}], [" with short heartbeats", { heartbeat: 1000 }], [" without a limit of silence", { silence: 0 }]]) {
  test(`a quiet stream${what} keeps its leader and its connection for an hour`, async (t) => {
    const simulation = simulate(t, options);
    simulation.origin.heartbeat = options.heartbeat ?? 15 * SECOND;
    const tabs = [simulation.open(), simulation.open(), simulation.open()];
    await simulation.pass(60 * MINUTE);
    assert.deepEqual(tabs.map(({ states }) => states), tabs.map(() => ["connecting", "open"]));
    assert.deepEqual([simulation.origin.requests, simulation.browser.leaders], [1, 1]);
  });
}

test("a leader that hangs on a quiet stream is replaced within 15 seconds", async (t) => {
  const simulation = simulate(t);
  const [first, second] = [simulation.open(), simulation.open()];
  await simulation.pass(MINUTE);
  first.hang();
  await simulation.pass(16 * SECOND);
  assert.equal(simulation.browser.leader, second);
});

for (const time of [-5, 0, Infinity]) {
  test(`a member waits for a time of its own if the leader tells that it tries again in ${time} ms`, async (t) => {
    const simulation = simulate(t);
    const leader = new ScriptedLeader(simulation, "A", { down: { reason: "network", until: Date.now() + time, final: false } });
    const tab = simulation.open();
    await simulation.pass(MINUTE);
    assert.equal(tab.states.at(-1), "waiting network");
    const { length } = leader.questions;
    assert.ok(length > 1 && length < 10, `${length} questions in a minute`);
  });
}

test("a question wakes a leader whose timers are late", async (t) => {
  const simulation = simulate(t, { retry: 60 * SECOND });
  const [first, second] = [simulation.open(), simulation.open()];
  await simulation.pass(SECOND);
  simulation.origin.cut();
  await simulation.pass(SECOND);
  // All timers of the leader are late.
  first.stopTimers();
  await simulation.pass(5 * MINUTE);
  assert.deepEqual([simulation.origin.connections.size, second.states.at(-1)], [1, "open"]);
});

test("a slow loop bounds what a tab keeps, and goes on by its position", async (t) => {
  const simulation = simulate(t);
  const leader = new ScriptedLeader(simulation, "A", nothing(0), { unknown: true });
  let goOn;
  const isSlow = new Promise((resolve) => { goOn = resolve; });
  const tab = simulation.open({ lastEventId: "0", handle: () => isSlow });
  await simulation.pass(SECOND);
  for (let id = 1; id <= 10_000; id += 100) {
    leader.say({ events: Array.from({ length: 100 }, (_, at) => event(id + at)), id: String(id + 99) });
    simulation.origin.publish(100);
  }
  await simulation.pass(SECOND);
  goOn();
  await simulation.pass(10 * SECOND);
  simulation.check();
  assert.deepEqual([tab.seen.length, leader.questions[1].id], [10_000, "100"]);
});

test("history is read as slowly as the loop handles it", async (t) => {
  const simulation = simulate(t);
  new ScriptedLeader(simulation, "A", { unknown: true });
  let pulled = 0;
  const history = new ReadableStream({
    pull(controller) {
      pulled++;
      controller.enqueue(new TextEncoder().encode(`id: ${pulled}\ndata: ${pulled}\n\n`));
    },
  }, { highWaterMark: 0 });
  const fetch = async () => new Response(history, { headers: { "content-type": "text/event-stream" } });
  const tab = simulation.open({ lastEventId: "0", fetch, handle: () => sleep(SECOND) });
  await simulation.pass(10 * SECOND);
  assert.ok(pulled > 2 && pulled <= tab.seen.length + 1, `${pulled} of ${tab.seen.length}`);
});

test("a member whose leader does not know its position connects with a new token, and tells what is refused", async (t) => {
  const simulation = simulate(t);
  let [tokens, requests] = [0, []];
  const fetch = async (_, { headers }) => {
    requests.push(headers.get("authorization"));
    return answerOf(503);
  };
  const leader = new ScriptedLeader(simulation, "A", nothing(0), { unknown: true });
  const tab = simulation.open({ lastEventId: "0", silence: 0, fetch, token: () => `t${++tokens}` });
  await simulation.pass(SECOND);
  leader.say({ leads: true });
  await simulation.pass(SECOND);
  assert.deepEqual([tab.states, requests], [["connecting", "open", "connecting closed", "waiting status"], ["Bearer t2"]]);
  leader.answers = [nothing(0)];
  await simulation.pass(10 * SECOND);
  assert.equal(tab.states.at(-1), "open");
});

test("a token of a member that reads by itself is called once more after a 401", async (t) => {
  const simulation = simulate(t);
  new ScriptedLeader(simulation, "A", { unknown: true });
  const tokens = [];
  const fetch = async (url, init) => (init.headers.get("authorization") === "Bearer new" ? simulation.origin.fetch(url, init) : answerOf(401));
  const tab = simulation.open({ lastEventId: "0", fetch, token: ({ refused }) => { tokens.push(refused); return refused ? "new" : "old"; } });
  simulation.origin.publish(1);
  await simulation.pass(SECOND);
  assert.deepEqual([tab.seen, tokens], [[1], [false, true]]);
});

for (const [what, answers] of [["is down", [{ unknown: true }, { unknown: true }, undefined]], ["hangs", [{ unknown: true }, undefined]]]) {
  test(`a member that reads by itself reads on while the leader ${what}`, async (t) => {
    const simulation = simulate(t);
    new ScriptedLeader(simulation, "A", ...answers);
    const tab = simulation.open({ lastEventId: "0", silence: 0 });
    for (let id = 1; id <= 5; id++) {
      simulation.origin.publish(1);
      await simulation.pass(SECOND);
    }
    await simulation.pass(5 * SECOND);
    assert.deepEqual([tab.seen, tab.states], [[1, 2, 3, 4, 5], ["connecting", "open"]]);
  });
}

test("a leader that is down lets members that read by themselves read on", async (t) => {
  const simulation = simulate(t, { silence: 0 });
  simulation.open();
  await simulation.pass(SECOND);
  for (let round = 0; round < 5; round++) {
    simulation.origin.publish(1000);
    await simulation.pass(SECOND);
  }
  const old = simulation.open({ lastEventId: "0", handle: () => sleep(10) });
  await simulation.pass(5 * SECOND);
  assert.equal(simulation.origin.connections.size, 2);
  simulation.origin.isDown = true;
  simulation.origin.cut(simulation.browser.leader);
  await simulation.pass(2 * MINUTE);
  assert.equal(old.seen.length, 5000);
  simulation.origin.isDown = false;
  await simulation.settle();
  simulation.check();
});

test("a member learns an ID that comes without an event", async (t) => {
  const simulation = simulate(t);
  simulation.origin.events = 7;
  const [, member] = [simulation.open(), simulation.open()];
  await simulation.pass(5 * SECOND);
  simulation.origin.skip(3);
  await simulation.pass(5 * SECOND);
  assert.equal(member.subscription.lastEventId, "10");
});

test("a leader that closes answers no question later", async (t) => {
  const simulation = simulate(t);
  const leader = simulation.open();
  await simulation.pass(SECOND);
  const old = simulation.open({ lastEventId: "an unknown one" });
  await simulation.pass(500);
  leader.enter("page", () => leader.subscription.close());
  await simulation.pass(10 * SECOND);
  assert.equal(old.states.at(-1), "open");
});

test("a loop that is busy receives the events before the end", async (t) => {
  const simulation = simulate(t);
  const leader = new ScriptedLeader(simulation, "A", nothing(0));
  const tab = simulation.open({ lastEventId: "0", handle: () => sleep(SECOND) });
  await simulation.pass(SECOND);
  for (const id of [1, 2, 3]) leader.say({ events: [event(id)], id: String(id) });
  leader.say({ down: { reason: "done", final: true } });
  await simulation.pass(10 * SECOND);
  assert.deepEqual([tab.seen, tab.states.at(-1)], [[1, 2, 3], "ended done"]);
});

test("a leader passes on any number of events at once", async (t) => {
  const simulation = simulate(t);
  const tabs = [simulation.open(), simulation.open()];
  await simulation.pass(SECOND);
  simulation.origin.publish(200_000);
  await simulation.pass(SECOND);
  for (const tab of tabs) assert.deepEqual([tab.seen.length, tab.states], [200_000, ["connecting", "open"]]);
});

test("a leader whose timers are late sends a tab with an unknown position away", async (t) => {
  const simulation = simulate(t);
  const leader = simulation.open();
  await simulation.pass(SECOND);
  leader.stopTimers();
  const old = simulation.open({ lastEventId: "an unknown one" });
  await simulation.pass(15 * SECOND);
  assert.equal(old.states.at(-1), "open");
});

test("where streams are buffered, a tab with an old position reads pages, and then shares", async (t) => {
  const simulation = simulate(t, { fallback: 3000 });
  simulation.origin.buffers = true;
  const leader = new ScriptedLeader(simulation, "A", { unknown: true });
  simulation.origin.events = 5;
  const tab = simulation.open({ lastEventId: "0" });
  await simulation.pass(5 * SECOND);
  leader.answers = [nothing(5)];
  await simulation.pass(5 * SECOND);
  assert.deepEqual([tab.seen, leader.questions.at(-1).id, tab.states.at(-1)], [[1, 2, 3, 4, 5], "5", "open"]);
  leader.say({ events: [event(6)], id: "6" });
  await simulation.pass(SECOND);
  assert.equal(tab.seen.at(-1), 6);
});

test("tabs that an older client left open, with other messages, are no leaders of this one", async (t) => {
  const simulation = simulate(t);
  simulation.browser.open(() => navigator.locks.request("carafe:true http://hub/events", {}, () => new Promise(() => {})));
  const tab = simulation.open();
  await simulation.pass(SECOND);
  assert.equal(tab.states.at(-1), "open");
});
