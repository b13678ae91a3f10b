// Each answer of a server leads to its state.
import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamError, subscribe } from "../src/index.js";
import { namesOf, read, skipUncaught } from "./support/read.js";
import { broken, done, serve, status, stream } from "./support/server.js";

test("a stream that ends is opened again after the last event ID, until 204", async (t) => {
  const lost = broken("id: 2\ndata: b\n\nid: 3\ndata: lost");
  const { url, requests } = await serve(t, stream("retry: 1\n\nid: 1\ndata: a\n\n", true), lost.step, done);
  const { data, states, error } = await read(url, { onEvent: (event) => event.data === "b" && lost.break() });
  assert.deepEqual([data, error], [["a", "b"], undefined]);
  assert.deepEqual(requests.map(({ headers }) => headers["last-event-id"]), [undefined, "1", "2"]);
  assert.deepEqual(namesOf(states), [
    "connecting", "open", "waiting closed", "connecting closed", "open", "waiting network", "connecting network", "ended done",
  ]);
});

test("an ID without data is resumed after, too, and one without its blank line is not", async (t) => {
  const { url, requests } = await serve(t, stream("id: 1\n\nid: 2\n", true), done);
  await read(url);
  assert.equal(requests[1].headers["last-event-id"], "1");
});

test("an ID is sent as UTF-8", async (t) => {
  const { url, requests } = await serve(t, stream("id: é→\ndata: a\n\n", true), done);
  await read(url);
  assert.equal(Buffer.from(requests[1].headers["last-event-id"], "latin1").toString(), "é→");
});

for (const code of [500, 502, 503, 408, 425, 429]) {
  test(`${code} is retried`, async (t) => {
    const { url } = await serve(t, status(code, { "content-type": "text/html" }, "<html>"), stream("data: a\n\n"));
    const { data, states } = await read(url, {}, 1);
    assert.deepEqual(data, ["a"]);
    assert.deepEqual([states[1].name, states[1].reason, states[1].status], ["waiting", "status", code]);
  });
}

for (const code of [400, 401, 403, 404, 410]) {
  test(`${code} ends the stream with its response`, async (t) => {
    const { url, requests } = await serve(t, status(code, { "content-type": "application/problem+json" }, '{"title":"No"}'));
    const { error, states } = await read(url);
    assert.ok(error instanceof StreamError);
    assert.deepEqual([error.reason, error.status, await error.response.json()], ["status", code, { title: "No" }]);
    assert.deepEqual([states.at(-1).name, requests.length], ["ended", 1]);
  });
}

test("an HTML page is a reason of its own, and is retried", async (t) => {
  const { url } = await serve(t, status(200, { "content-type": "text/html; charset=utf-8" }, "<form>"), stream("data: a\n\n"));
  const { data, states } = await read(url, {}, 1);
  assert.deepEqual([data, namesOf(states)[1]], [["a"], "waiting html"]);
  assert.equal(states[1].response.headers.get("content-type"), "text/html; charset=utf-8");
});

test("another content type ends the stream", async (t) => {
  const { url } = await serve(t, status(200, { "content-type": "application/json" }, "{}"));
  assert.equal((await read(url)).error.reason, "content-type");
});

test("a refused connection is retried", async (t) => {
  const { url, server } = await serve(t, done);
  const port = server.address().port;
  await new Promise((resolve) => server.close(resolve));
  const states = [];
  const subscription = subscribe(url, {
    retry: 1,
    onState(state) {
      states.push(state);
      if (state.reason === "network" && !server.listening) server.listen(port, "127.0.0.1");
    },
  });
  for await (const _ of subscription);
  assert.equal(namesOf(states)[1], "waiting network");
  assert.equal(states.at(-1).reason, "done");
});

test("Retry-After and retry are lower bounds of the time to wait", async (t) => {
  const { url } = await serve(t, stream("retry: 50\n\n", true), status(503, { "retry-after": "1" }), status(503), done);
  const waits = [];
  await read(url, { onState: ({ name, until }) => name === "waiting" && waits.push(until - Date.now()) });
  const bounds = [50, 1000, 50];
  assert.equal(waits.length, bounds.length);
  // Clocks count whole milliseconds.
  waits.forEach((wait, at) => assert.ok(wait >= bounds[at] - 5, `${wait} ms of at least ${bounds[at]}`));
});

for (const [what, answer, longest] of [
  ["retry", stream("retry: 99999999999999999999\n\n", true), 300_000],
  ["Retry-After", status(503, { "retry-after": "1e12" }), 86_400_000],
]) {
  test(`${what} of any size is a wait of at most ${longest / 60_000} minutes`, async (t) => {
    t.mock.method(Math, "random", () => 0);
    const { url } = await serve(t, answer);
    const controller = new AbortController();
    let wait;
    await read(url, {
      signal: controller.signal,
      onState({ name, until }) {
        if (name !== "waiting") return;
        wait = until - Date.now();
        setImmediate(() => controller.abort());
      },
    });
    assert.ok(wait <= longest && wait > longest * 0.9, `${wait} ms`);
  });
}

test("the time to wait doubles with each failure, up to 30 s above the lower bound, and jitter is only added", async (t) => {
  t.mock.method(Math, "random", () => 1);
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  t.after(() => t.mock.timers.reset());
  const waits = [];
  const subscription = subscribe("http://localhost/", {
    retry: 1000,
    fetch: async () => { throw new TypeError("no network"); },
    onState({ name, until }) {
      if (name !== "waiting") return;
      waits.push(until - Date.now());
      if (waits.length === 7) subscription.close();
      else setImmediate(() => t.mock.timers.tick(until - Date.now()));
    },
  });
  for await (const _ of subscription);
  assert.deepEqual(waits, [2000, 3000, 5000, 9000, 17_000, 31_000, 31_000]);
});

test("silence leads to a new connection", async (t) => {
  const answer = (response, { headers }) => stream(headers["last-event-id"] ? "data: b\n\n" : "id: 1\ndata: a\n\n")(response);
  const { url } = await serve(t, answer);
  const { data, states } = await read(url, { silence: 60 }, 2);
  assert.deepEqual(data, ["a", "b"]);
  assert.ok(namesOf(states).includes("connecting silence"), namesOf(states).join());
});

test("a response head that does not arrive is silence", async (t) => {
  const { url } = await serve(t, () => {}, stream("data: a\n\n"));
  assert.deepEqual((await read(url, { silence: 60 }, 1)).data, ["a"]);
});

test("a loop that takes its time is no silence", async (t) => {
  const { url, requests } = await serve(t, stream("data: a\n\ndata: b\n\n"));
  let before;
  for await (const { data } of subscribe(url, { silence: 30 })) {
    if (data === "b") break;
    before = requests.length;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.equal(requests.length, before);
});

test("a heartbeat is asked for, and silence is thrice its time", async (t) => {
  const { url, requests } = await serve(t, stream(""), stream("data: a\n\n"));
  await read(`${url}?topic=a`, { heartbeat: 20 }, 1);
  assert.equal(requests[0].url, "/events?topic=a&heartbeat=20ms");
});

test("reports of the hub are apart from data, at their place", async (t) => {
  const gap = 'event: carafe.gap\ndata: {"requested":"x","oldest":null,"reason":"lost"}\nid: 2\n\n';
  const { url } = await serve(t, stream(`id: 1\ndata: a\n\n${gap}id: 3\ndata: b\n\n`));
  const order = [];
  const subscription = subscribe(url, { onControl: ({ control, reason, id }) => order.push([control, reason, id]) });
  for await (const { data } of subscription) {
    order.push(data);
    if (data === "b") break;
  }
  assert.deepEqual(order, ["a", ["gap", "lost", "2"], "b"]);
});

test("reports of the hub are iterated over if asked", async (t) => {
  const { url } = await serve(t, stream('event: carafe.position\ndata: {"position":"7"}\nid: 7\n\n'));
  for await (const event of subscribe(url, { controls: true })) {
    assert.deepEqual(event, { control: "position", position: "7", id: "7" });
    break;
  }
});

test("the time of the last event is part of the state", async (t) => {
  const { url } = await serve(t, stream("data: a\n\n", true), done);
  const { states } = await read(url);
  assert.equal(states[1].lastEventTime, undefined);
  assert.ok(Math.abs(states[2].lastEventTime - Date.now()) < 60_000);
});

test("a signal ends the stream without an error", async (t) => {
  const { url } = await serve(t, stream("data: a\n\n"));
  const controller = new AbortController();
  const seen = read(url, { signal: controller.signal, onState: ({ name }) => name === "open" && setTimeout(() => controller.abort(), 20) });
  const { error, states } = await seen;
  assert.deepEqual([error, namesOf(states).at(-1)], [undefined, "ended aborted"]);
  assert.deepEqual(namesOf((await read(url, { signal: AbortSignal.abort() })).states), ["ended aborted"]);
});

test("close ends a stream that waits", async (t) => {
  const { url } = await serve(t, status(503, { "retry-after": "3600" }));
  const states = [];
  const subscription = subscribe(url, {
    onState(state) {
      states.push(state);
      if (state.name === "waiting") setImmediate(() => subscription.close());
    },
  });
  for await (const _ of subscription);
  assert.deepEqual(namesOf(states), ["connecting", "waiting status", "ended aborted"]);
});

test("an error of onState is one of the page, and does not end the stream", { skip: skipUncaught }, async (t) => {
  const { url } = await serve(t, stream("data: a\n\n"));
  const uncaught = [];
  process.setUncaughtExceptionCaptureCallback((error) => uncaught.push(error.message));
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  const { data } = await read(url, { onState: ({ name }) => { throw new Error(name); } }, 1);
  assert.deepEqual([data, uncaught.slice(0, 2)], [["a"], ["connecting", "open"]]);
});

test("an error of onControl ends the loop and the stream", async (t) => {
  const { url } = await serve(t, stream('event: carafe.gap\ndata: {}\n\n'));
  const subscription = subscribe(url, { onControl() { throw new Error("a bug of the page"); } });
  await assert.rejects(subscription.next(), { message: "a bug of the page" });
  assert.equal(subscription.state.reason, "aborted");
});

test("a clock that is set back does not prolong the wait", async (t) => {
  const { url } = await serve(t, stream("", true), done);
  const now = Date.now;
  t.after(() => { Date.now = now; });
  const setBack = () => { Date.now = () => now() - 3_600_000; };
  const onState = ({ name }) => { if (name === "waiting") setImmediate(setBack); };
  assert.equal((await read(url, { onState, retry: 100 })).states.at(-1).reason, "done");
});

test("a stream that is closed while its response is on the way stays closed", async (t) => {
  const { url, requests } = await serve(t, stream("data: a\n\n"));
  const states = [];
  const subscription = subscribe(url, {
    retry: 1,
    async fetch(...request) {
      const response = await fetch(...request);
      subscription.close();
      return response;
    },
    onState: (state) => states.push(state),
  });
  for await (const _ of subscription);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual([namesOf(states), requests.length], [["connecting", "ended aborted"], 1]);
});

test("questions for the next event are answered in their order", async (t) => {
  const { url } = await serve(t, stream("data: a\n\n", true), stream("data: b\n\n"));
  const subscription = subscribe(url, { retry: 1 });
  const events = await Promise.all([subscription.next(), subscription.next()]);
  assert.deepEqual(events.map(({ value }) => value.data), ["a", "b"]);
  const last = subscription.next();
  subscription.close();
  assert.equal((await last).done, true);
});

test("an event that is too large ends the stream", async (t) => {
  const chunk = new TextEncoder().encode("x".repeat(2 ** 20));
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode("data: ")),
    pull: (controller) => controller.enqueue(chunk),
  });
  const fetch = async () => new Response(body, { headers: { "content-type": "text/event-stream" } });
  const { error } = await read("http://localhost/", { fetch });
  assert.deepEqual([error.name, error.reason], ["StreamError", "too-large"]);
});
