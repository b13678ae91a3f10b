// Long polling, where something on the way buffers streams.
import assert from "node:assert/strict";
import { test } from "node:test";
import { namesOf, read } from "./support/read.js";
import { serve, status, stream } from "./support/server.js";

/** Long enough for a request on a slow machine, as it is counted from the request on. */
const FALLBACK = 300;

const page = (events, next, more) => (response) => {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify({ events, next, up_to_date: true, ended: null, ...more }));
};
/** A proxy that holds back what follows the head. */
const buffered = (response) => response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
/** One that holds back the head, too. */
const silent = () => {};
/** The page before the first stream, which tells the position. */
const first = page([], "0");
const END = { outcome: "done", position: "9" };
const event = (id, data, more) => ({ topic: "a", id, time: "2026-01-01T00:00:00.000Z", data, ...more });

test("a stream that nothing arrives on is replaced by pages", async (t) => {
  const { url, requests } = await serve(t, first, buffered, page([], "0"), page([event("1", "a"), event("2", "b")], "2"), page([], "3"), page([event("4", "c")], "4", { ended: END }));
  const { data, ids, states } = await read(`${url}?topic=a`, { fallback: FALLBACK });
  assert.deepEqual([data, ids], [["a", "b", "c"], ["1", "2", "4"]]);
  assert.deepEqual(namesOf(states), ["connecting", "open", "connecting buffered", "open", "ended done"]);
  assert.deepEqual(states.map(({ transport }) => transport), [undefined, "stream", undefined, "poll", undefined]);
  assert.equal(requests[2].url, "/events?topic=a&format=json&last_event_id=0");
  assert.deepEqual(requests.slice(3).map(({ url }) => url), [0, 2, 3].map((id) => `/events?topic=a&format=json&wait=22500ms&last_event_id=${id}`));
  assert.deepEqual([requests[0].url, requests[1].headers["last-event-id"]], ["/events?topic=a&format=json&last=0", "0"]);
  assert.equal(requests[2].headers.accept, "application/json");
});

test("a stream whose head does not arrive is replaced by pages", async (t) => {
  const { url, requests } = await serve(t, first, silent, page([event("1", "a")], "1", { ended: END }));
  const { data, states } = await read(url, { fallback: FALLBACK });
  assert.deepEqual([data, namesOf(states)], [["a"], ["connecting", "connecting buffered", "open", "ended done"]]);
  assert.deepEqual(requests.map(({ headers }) => headers.accept), ["application/json", "text/event-stream", "application/json"]);
});

test("types, gaps, ends and envelopes are as on a stream", async (t) => {
  const gap = { requested: "x", oldest: null, reason: "lost" };
  const { url } = await serve(t, first, buffered, page([event("1", "a", { type: "add" })], "1", { gap, ended: END }));
  const { data, controls } = await read(`${url}?envelope=json`, { fallback: FALLBACK });
  assert.deepEqual(controls, [{ ...gap, control: "gap", id: "0" }, { ...END, control: "end", id: "1" }]);
  assert.deepEqual(data.map(JSON.parse), [event("1", "a", { type: "add" })]);
});

test("the client returns to streaming, and polls for longer each time that this fails", async (t) => {
  const now = Date.now;
  let later = 0;
  Date.now = () => now() + later;
  t.after(() => { Date.now = now; });
  const sleep = (minutes) => (response) => { later += minutes * 60_000; page([], "1")(response); };
  const { url, requests } = await serve(t, first, buffered, sleep(1), buffered, sleep(1), sleep(1), stream("data: a\n\n"));
  const { data } = await read(url, { fallback: FALLBACK, silence: 0 }, 1);
  assert.deepEqual(data, ["a"]);
  assert.deepEqual(requests.map(({ headers }) => headers.accept.split("/")[1]), ["json", "event-stream", "json", "event-stream", "json", "json", "event-stream"]);
});

test("a server without pages keeps its stream", async (t) => {
  const late = (response) => { buffered(response); setTimeout(() => response.write("data: a\n\n"), 2 * FALLBACK); };
  for (const answer of [status(406), stream("data: a\n\n")]) {
    const { url, requests } = await serve(t, answer, late);
    const { data, states } = await read(url, { fallback: FALLBACK }, 1);
    assert.deepEqual([data, requests.length, states.at(-1).name], [["a"], 2, "ended"]);
  }
});

test("a stream that bytes arrive on is kept", async (t) => {
  const quiet = (response) => { stream(":\n\n")(response); setTimeout(() => response.write("data: a\n\n"), 2 * FALLBACK); };
  const { url, requests } = await serve(t, first, quiet);
  await read(url, { fallback: FALLBACK }, 1);
  assert.ok(requests.slice(1).every(({ headers }) => headers.accept === "text/event-stream"));
});

test("a server that does not wait is not asked all the time", async (t) => {
  const controller = new AbortController();
  const atOnce = (response) => {
    page([], "0")(response);
    setTimeout(() => controller.abort(), 100);
  };
  const { url, requests } = await serve(t, first, buffered, page([], "0"), atOnce);
  await read(url, { fallback: FALLBACK, retry: 60_000, signal: controller.signal });
  assert.equal(requests.length, 4);
});

test("a server that has waited is asked again at once", async (t) => {
  const now = Date.now;
  let later = 0;
  Date.now = () => now() + later;
  t.after(() => { Date.now = now; });
  const hasWaited = (response) => { later += 20_000; page([], "0")(response); };
  const { url } = await serve(t, first, buffered, page([], "0"), hasWaited, page([event("1", "a")], "1", { ended: END }));
  const { data } = await read(url, { fallback: FALLBACK, retry: 20_000, silence: 0 });
  assert.deepEqual(data, ["a"]);
});

test("a token that expires while polling is replaced, and polling goes on", async (t) => {
  const { url, requests } = await serve(
    t, first, buffered, page([], "0"), page([event("1", "a")], "1"), status(401), page([], "1"), page([event("2", "b")], "2", { ended: END }),
  );
  let tokens = 0;
  const { data, states } = await read(url, { fallback: FALLBACK, token: () => String(tokens++) });
  assert.deepEqual([data, states.at(-1).reason], [["a", "b"], "done"]);
  assert.equal(requests.filter(({ headers }) => headers.accept === "text/event-stream").length, 1);
});

test("a page waits for whole milliseconds", async (t) => {
  const { url, requests } = await serve(t, first, buffered, page([], "0"), page([event("1", "a")], "1", { ended: END }));
  await read(url, { fallback: FALLBACK, silence: 3001 });
  assert.match(requests[3].url, /&wait=1500ms&/);
});

test("a stream of which only a burst arrives is replaced by pages when it is silent", async (t) => {
  const { url, requests } = await serve(t, first, stream("id: 1\ndata: a\n\n"), page([], "1"), page([event("2", "b")], "2", { ended: END }));
  const { data, states } = await read(url, { fallback: 60_000, silence: 300 });
  assert.deepEqual(data, ["a", "b"]);
  assert.deepEqual(namesOf(states), ["connecting", "open", "connecting silence", "open", "ended done"]);
  assert.equal(requests[2].headers.accept, "application/json");
});

test("a refusal after pages have been read ends the stream", async (t) => {
  const { url } = await serve(t, first, buffered, page([event("1", "a")], "1"), status(403));
  const { data, error } = await read(url, { fallback: FALLBACK });
  assert.deepEqual([data, error.reason, error.status], [["a"], "status", 403]);
});
