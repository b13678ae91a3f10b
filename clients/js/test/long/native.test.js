// What the browser's own EventSource does, so that the table in docs/BROWSER.md is true.
import assert from "node:assert/strict";
import { test } from "node:test";
import { numbers, skip, startBrowser, until } from "../support/chromium.js";
import { startHub } from "../support/hub.js";
import { startSite } from "../support/site.js";

/** A page with a native EventSource of the hub, or of another path. */
async function setUp(t, routes = {}, path = "/events/orders") {
  const hub = await startHub(t);
  const site = await startSite(t, hub, routes);
  const context = await startBrowser(t);
  const page = await context.newPage();
  await page.goto(`${site.base}/elsewhere`);
  await page.evaluate(start, path);
  return { hub, site, context, page, seen: () => page.evaluate(() => window.seen), state: () => page.evaluate(() => window.source.readyState) };
}

/** Runs in the page. */
function start(path) {
  window.seen = [];
  window.source = new EventSource(path);
  window.source.onmessage = ({ data }) => window.seen.push(data);
  addEventListener("pageshow", ({ persisted }) => { window.persisted = persisted; });
}

const isOpen = (native) => until("an open stream", async () => (await native.state()) === 1);

for (const [what, ...head] of [
  ["502", 502, { "content-type": "text/html" }], ["429", 429, { "retry-after": "1" }], ["401", 401, {}],
  ["an HTML page", 200, { "content-type": "text/html" }],
]) {
  test(`native EventSource gives up after ${what}`, { skip }, async (t) => {
    let requests = 0;
    const native = await setUp(t, { "/stream": (response) => { requests++; response.writeHead(...head).end("<p>"); } }, "/stream");
    await until("the end", async () => (await native.state()) === 2);
    assert.equal(requests, 1);
  });
}

test("native EventSource resumes after a broken connection, and gives up when a proxy answers for the hub", { skip }, async (t) => {
  const native = await setUp(t);
  await isOpen(native);
  native.site.cut();
  await native.hub.publish("orders", 0, 5);
  await until("the events", async () => (await native.seen()).length === 5);
  assert.deepEqual(await native.seen(), numbers(5));
  await native.hub.kill();
  await until("the end", async () => (await native.state()) === 2);
});

test("native EventSource forgets its position with the page", { skip }, async (t) => {
  const native = await setUp(t);
  await isOpen(native);
  await native.hub.publish("orders", 0, 5);
  await until("the events", async () => (await native.seen()).length === 5);
  await native.page.reload();
  await native.hub.publish("orders", 5, 5);
  await native.page.evaluate(start, "/events/orders");
  await isOpen(native);
  await native.hub.publish("orders", 10, 1);
  await until("an event", async () => (await native.seen()).length > 0);
  assert.deepEqual(await native.seen(), ["10"]);
});

test("native EventSource keeps a connection for a page in the back-forward cache", { skip }, async (t) => {
  const native = await setUp(t);
  await isOpen(native);
  await native.page.goto(`${native.site.base}/other`);
  await native.hub.publish("orders", 0, 5);
  assert.equal(native.site.streams.size, 1);
  await native.page.goBack({ waitUntil: "commit" });
  await until("the page", () => native.page.evaluate(() => window.persisted).catch(() => false));
  await until("the events", async () => (await native.seen()).length >= 5);
});

test("native EventSource keeps the connection of a frozen page", { skip }, async (t) => {
  const native = await setUp(t);
  await isOpen(native);
  const session = await native.context.newCDPSession(native.page);
  await session.send("Page.setWebLifecycleState", { state: "frozen" });
  await native.hub.publish("orders", 0, 5);
  assert.equal(native.site.streams.size, 1);
  await session.send("Page.setWebLifecycleState", { state: "active" });
  await until("the events", async () => (await native.seen()).length === 5);
});
