// The interface of the browser's EventSource.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { EventSource } from "../src/index.js";
import { skipUncaught } from "./support/read.js";
import { done, serve, status, stream } from "./support/server.js";

function open(t, url, options) {
  const source = new EventSource(url, { retry: 1, ...options });
  t.after(() => source.close());
  return source;
}

test("events have type, data, last event ID and origin", async (t) => {
  const { url } = await serve(t, stream("id: 1\nevent: add\ndata: a\n\ndata: b\n\n"));
  const source = open(t, url);
  const [[add], [message]] = await Promise.all([once(source, "add"), once(source, "message")]);
  assert.ok(add instanceof MessageEvent);
  assert.deepEqual([add.data, add.lastEventId, add.origin], ["a", "1", new URL(url).origin]);
  assert.deepEqual([message.data, message.lastEventId], ["b", "1"]);
});

test("the origin is that of the final URL", async (t) => {
  const target = await serve(t, stream("data: a\n\n"));
  const { url } = await serve(t, status(307, { location: target.url }));
  const source = open(t, url);
  const [{ origin }] = await once(source, "message");
  assert.deepEqual([origin, source.url], [new URL(target.url).origin, url]);
});

test("readyState, handlers and errors follow the connection", async (t) => {
  const { url } = await serve(t, stream("data: a\n\n", true), done);
  const source = open(t, url, { withCredentials: true });
  const seen = [source.readyState];
  for (const type of ["open", "message", "error"]) source[`on${type}`] = () => seen.push(`${type} ${source.readyState}`);
  while (source.readyState !== EventSource.CLOSED) await once(source, "error");
  assert.deepEqual(seen, [0, "open 1", "message 1", "error 0", "error 2"]);
  assert.deepEqual([source.withCredentials, source.url, source.state.reason], [true, url, "done"]);
});

test("constants are on the class and on its objects, and cannot be changed", async (t) => {
  const { url } = await serve(t, done);
  const source = open(t, url);
  for (const owner of [EventSource, source]) {
    assert.deepEqual([owner.CONNECTING, owner.OPEN, owner.CLOSED], [0, 1, 2]);
    assert.throws(() => { owner.OPEN = 7; }, TypeError);
  }
});

test("a handler is a function or null, and replaces the one before", async (t) => {
  const { url } = await serve(t, stream("data: a\n\n"));
  const source = open(t, url);
  assert.equal(source.onmessage, null);
  const calls = [];
  source.onmessage = () => calls.push("first");
  const second = () => calls.push("second");
  source.onmessage = second;
  assert.equal(source.onmessage, second);
  await once(source, "message");
  source.onmessage = 7;
  assert.deepEqual([calls, source.onmessage], [["second"], null]);
});

test("no event follows close, not even one that has arrived", async (t) => {
  const { url, requests } = await serve(t, stream("id: 1\ndata: a\n\nid: 2\ndata: b\n\n"));
  const source = open(t, url);
  const seen = [];
  source.onmessage = ({ data }) => { seen.push(data); source.close(); };
  source.onerror = () => seen.push("error");
  await once(source, "message");
  await new Promise(setImmediate);
  assert.deepEqual([seen, source.readyState, requests.length], [["a"], 2, 1]);
});

test("a listener that throws does not end the stream", { skip: skipUncaught }, async (t) => {
  const { url } = await serve(t, stream("data: a\n\ndata: b\n\n"));
  const source = open(t, url);
  const uncaught = [];
  const listener = (error) => uncaught.push(error.message);
  process.setUncaughtExceptionCaptureCallback(listener);
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  const seen = [];
  await new Promise((resolve) => {
    source.onmessage = ({ data }) => {
      seen.push(data);
      if (data === "b") return resolve();
      throw new Error("a bug of the page");
    };
  });
  await new Promise(setImmediate);
  assert.deepEqual([seen, uncaught], [["a", "b"], ["a bug of the page"]]);
});

test("a URL that cannot be parsed is a SyntaxError", () => {
  assert.throws(() => new EventSource("http://[/"), { name: "SyntaxError" });
});

test("reports of the hub are events of their types", async (t) => {
  const { url } = await serve(t, stream('event: carafe.gap\ndata: {"reason":"lost"}\nid: 1\n\n'));
  const [{ data }] = await once(open(t, url), "carafe.gap");
  assert.deepEqual(JSON.parse(data), { reason: "lost" });
});
