// What happens in a page wakes its streams.
import assert from "node:assert/strict";
import { test } from "node:test";
import { namesOf, read } from "./support/read.js";
import { done, serve, status, stream } from "./support/server.js";

/** Gives this process a window and a document, as far as the client looks at them. */
function pretendPage(t) {
  const page = new EventTarget();
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.removeEventListener = page.removeEventListener.bind(page);
  globalThis.document = { hidden: false };
  t.after(() => {
    for (const name of ["addEventListener", "removeEventListener", "document"]) delete globalThis[name];
  });
  return {
    happen: (type) => page.dispatchEvent(new Event(type)),
    show(visible) {
      document.hidden = !visible;
      page.dispatchEvent(new Event("visibilitychange"));
    },
  };
}

/** Calls the next of `steps` at each state of this name. */
function at(name, ...steps) {
  return (state) => state.name === name && steps.length && setImmediate(steps.shift());
}

for (const type of ["online", "pageshow", "resume"]) {
  test(`${type} ends the wait`, async (t) => {
    const { happen } = pretendPage(t);
    const { url } = await serve(t, stream("retry: 3600000\n\n", true), done);
    const { states } = await read(url, { onState: at("waiting", () => happen(type)) });
    assert.deepEqual(namesOf(states), ["connecting", "open", "waiting closed", "connecting closed", "ended done"]);
  });
}

test("a page that becomes visible ends the wait", async (t) => {
  const { show } = pretendPage(t);
  const { url } = await serve(t, stream("retry: 3600000\n\n", true), done);
  const { states } = await read(url, { onState: at("waiting", () => { show(false); show(true); }) });
  assert.equal(states.at(-1).reason, "done");
});

test("a server that has asked for a pause gets it", async (t) => {
  const { happen } = pretendPage(t);
  const { url } = await serve(t, status(503, { "retry-after": "3600" }));
  const controller = new AbortController();
  const onState = at("waiting", () => { happen("online"); setImmediate(() => controller.abort()); });
  const { states } = await read(url, { onState, signal: controller.signal });
  assert.deepEqual(namesOf(states), ["connecting", "waiting status", "ended aborted"]);
});

test("a network that is back replaces an open connection", async (t) => {
  const { happen } = pretendPage(t);
  const { url } = await serve(t, stream("data: a\n\n"), done);
  const { states } = await read(url, { onState: at("open", () => happen("online")) });
  assert.deepEqual(namesOf(states), ["connecting", "open", "connecting online", "ended done"]);
});

test("a page that becomes visible keeps a connection that is alive", async (t) => {
  const { show } = pretendPage(t);
  const { url, requests } = await serve(t, (response) => {
    stream("")(response);
    show(false);
    show(true);
    response.write("data: a\n\n");
  });
  await read(url, {}, 1);
  assert.equal(requests.length, 1);
});

for (const [leave, back] of [["pagehide", "pageshow"], ["freeze", "resume"]]) {
  test(`${leave} releases the connection until ${back}`, async (t) => {
    const { happen } = pretendPage(t);
    const { url, requests } = await serve(t, stream("data: a\n\n"), done);
    const atOpen = at("open", () => happen(leave));
    const atWaiting = at("waiting", () => happen(back));
    const { states } = await read(url, { onState: (state) => { atOpen(state); atWaiting(state); } });
    assert.deepEqual(namesOf(states), ["connecting", "open", "waiting hidden", "connecting hidden", "ended done"]);
    assert.deepEqual([states[2].until, requests.length], [Infinity, 2]);
  });
}

test("a hidden page keeps its connection, or releases it if asked", async (t) => {
  const { show } = pretendPage(t);
  const { url } = await serve(t, stream("data: a\n\n"), done);
  const atOpen = at("open", () => show(false));
  const atWaiting = at("waiting", () => show(true));
  const { states } = await read(url, { background: "pause", onState: (state) => { atOpen(state); atWaiting(state); } });
  assert.deepEqual(namesOf(states), ["connecting", "open", "waiting hidden", "connecting hidden", "ended done"]);
  const kept = await serve(t, stream("data: a\n\n"));
  show(false);
  assert.deepEqual((await read(kept.url, {}, 1)).data, ["a"]);
});

test("a page that is hidden from the start connects when it is shown", async (t) => {
  const { show } = pretendPage(t);
  show(false);
  const { url, requests } = await serve(t, done);
  const { states } = await read(url, { background: "pause", onState: at("waiting", () => { assert.equal(requests.length, 0); show(true); }) });
  assert.deepEqual(namesOf(states), ["waiting hidden", "connecting hidden", "ended done"]);
});

test("timers that were frozen lead to a new connection", async (t) => {
  const { happen } = pretendPage(t);
  const { url } = await serve(t, stream("data: a\n\n"), done);
  const now = Date.now;
  t.after(() => { Date.now = now; });
  const sleep = () => { Date.now = () => now() + 3_600_000; happen("resume"); };
  const { states } = await read(url, { onState: at("open", sleep) });
  assert.deepEqual(namesOf(states), ["connecting", "open", "connecting silence", "ended done"]);
});

test("a stream that has ended listens to nothing", async (t) => {
  pretendPage(t);
  let listeners = 0;
  const { addEventListener, removeEventListener } = globalThis;
  globalThis.addEventListener = (...args) => { listeners++; addEventListener(...args); };
  globalThis.removeEventListener = (...args) => { listeners--; removeEventListener(...args); };
  const { url } = await serve(t, done);
  await read(url);
  assert.equal(listeners, 0);
});
