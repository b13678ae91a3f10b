// What is sent: headers, tokens, method and body; and what is kept over reloads.
import assert from "node:assert/strict";
import { test } from "node:test";
import { subscribe } from "../src/index.js";
import { FakeStorage, namesOf, read } from "./support/read.js";
import { done, serve, status, stream } from "./support/server.js";

test("method, headers and body are sent at each connection", async (t) => {
  const { url, requests } = await serve(t, stream("data: a\n\n", true), done);
  let call = 0;
  await read(url, { method: "POST", body: () => `ask ${call}`, headers: async () => ({ "x-call": ++call }) });
  assert.deepEqual(requests.map(({ method, body, headers }) => [method, body, headers["x-call"]]), [["POST", "ask 1", "1"], ["POST", "ask 2", "2"]]);
  assert.equal(requests[0].headers.accept, "text/event-stream");
});

test("a token is sent, and a function is called at each connection", async (t) => {
  const { url, requests } = await serve(t, stream("data: a\n\n", true), done);
  let call = 0;
  await read(url, { token: async () => `t${++call}` });
  await read(url, { token: "fixed" });
  assert.deepEqual(requests.map(({ headers }) => headers.authorization), ["Bearer t1", "Bearer t2", "Bearer fixed"]);
});

test("after a 401 the token function is called once more, and told so", async (t) => {
  const { url, requests } = await serve(t, status(401), stream("data: a\n\n", true), status(401), status(401));
  const calls = [];
  const { data, error } = await read(url, { token: ({ refused }) => { calls.push(refused); return "t"; } });
  assert.deepEqual([data, calls, error.status, requests.length], [["a"], [false, true, false, true], 401, 4]);
});

test("a token that cannot be had is a reason, and is asked for again", async (t) => {
  const { url } = await serve(t, stream("data: a\n\n"));
  let call = 0;
  const { data, states } = await read(url, { token: () => { if (!call++) throw new Error("offline"); return "t"; } }, 1);
  assert.deepEqual([data, namesOf(states)[1]], [["a"], "waiting token"]);
  assert.equal(states[1].error.message, "offline");
});

test("the fetch that is given is used", async () => {
  const calls = [];
  const fetch = async (url, { headers }) => {
    calls.push([url.href, headers.get("accept")]);
    return new Response(null, { status: 204 });
  };
  await read("http://localhost/events", { fetch });
  assert.deepEqual(calls, [["http://localhost/events", "text/event-stream"]]);
});

test("a stream resumes after the last event that the loop has handled", async (t) => {
  const { url, requests } = await serve(t, stream("id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: c\n\n"));
  const storage = new FakeStorage();
  for await (const { data } of subscribe(url, { resume: "key", storage })) {
    // The page may be reloaded here: the event is not handled yet.
    if (data === "b") assert.equal(storage.getItem("carafe:key"), "1");
    if (data === "b") break;
  }
  assert.equal(storage.getItem("carafe:key"), "2");
  await read(url, { resume: "key", storage }, 1);
  assert.equal(requests[1].headers["last-event-id"], "2");
});

test("a stream without resume begins after the ID that is given", async (t) => {
  const { url, requests } = await serve(t, done);
  await read(url, { lastEventId: "7" });
  assert.equal(requests[0].headers["last-event-id"], "7");
});

test("a storage that is full does not end the stream", async (t) => {
  const warnings = t.mock.method(console, "warn", () => {});
  const storage = { getItem: () => null, setItem() { throw new Error("QuotaExceededError"); } };
  const { url } = await serve(t, stream("id: 1\ndata: a\n\nid: 2\ndata: b\n\n"));
  assert.deepEqual((await read(url, { resume: "key", storage }, 2)).data, ["a", "b"]);
  assert.equal(warnings.mock.callCount(), 1);
});

test("a storage that was full stores the next position", async (t) => {
  t.mock.method(console, "warn", () => {});
  const storage = new FakeStorage();
  let isFull = true;
  const full = {
    getItem: () => null,
    setItem(key, id) {
      if (!isFull) return storage.setItem(key, id);
      isFull = false;
      throw new Error("QuotaExceededError");
    },
  };
  const { url } = await serve(t, stream("id: 1\ndata: a\n\nid: 2\ndata: b\n\n"));
  await read(url, { resume: "key", storage: full }, 2);
  assert.equal(storage.getItem("carafe:key"), "2");
});

test("a stream works where storage is blocked", async (t) => {
  t.mock.method(console, "warn", () => {});
  // As Chromium does where cookies are blocked.
  Object.defineProperty(globalThis, "sessionStorage", { configurable: true, get() { throw new Error("SecurityError"); } });
  t.after(() => delete globalThis.sessionStorage);
  const { url } = await serve(t, stream("id: 1\ndata: a\n\n"));
  assert.deepEqual((await read(url, { resume: "key", lastEventId: "0" }, 1)).data, ["a"]);
});
