// In Chromium behind an nginx that buffers, and then does not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isOpen, numbers, openPage, seenBy, skip, startBrowser, until } from "./support/chromium.js";
import { NETWORKS } from "./support/networks.js";

const nginx = NETWORKS.find(({ name }) => name.startsWith("nginx"));

/** Runs in the page: the time of polling is over. */
function letTimePass() {
  const now = Date.now;
  Date.now = () => now() + 61_000;
}

for (const share of [false, true]) {
  const what = share ? "tabs that share poll by one request at a time" : "a page polls";
  test(`${what} while nginx buffers, and streams when it does not`, { skip: skip || nginx.skip }, async (t) => {
    const { hub, site, ...network } = await nginx.start(t);
    // So long the first byte may take on a slow machine, or the page would poll for longer than the test lets pass.
    const options = { ...network.options, fallback: 2000 };
    const context = await startBrowser(t);
    const pages = [];
    for (let tab = 0; tab < (share ? 3 : 1); tab++) pages.push(await openPage(context, network, network.url, { ...options, share }));
    for (const page of pages) await isOpen(page);
    const check = async (count) => {
      for (const page of pages) assert.deepEqual(await seenBy(page, count), numbers(count));
      await until("one request", () => network.streams() === 1);
    };
    await hub.publish("orders", 0, 10);
    await check(10);
    assert.equal(site.accepted.at(-1), "application/json");
    site.acceleration = "no";
    for (const page of pages) await page.evaluate(letTimePass);
    await hub.publish("orders", 10, 10);
    await check(20);
    await until("a stream", () => site.accepted.at(-1) === "text/event-stream");
    await hub.publish("orders", 20, 10);
    await check(30);
    assert.equal(site.accepted.at(-1), "text/event-stream");
    if (!share) assert.equal(await pages[0].evaluate(() => window.states.at(-1)), "open stream 200");
  });
}

test("a tab with an old position catches up behind an nginx that buffers, and then shares", { skip: skip || nginx.skip }, async (t) => {
  const network = await nginx.start(t);
  const context = await startBrowser(t);
  const open = (options) => openPage(context, network, network.url, { share: true, ...network.options, ...options });
  const first = await open();
  await isOpen(first);
  await network.hub.publish("orders", 0, 1);
  await seenBy(first, 1);
  const old = await first.evaluate(() => window.subscription.lastEventId);
  await network.hub.publish("orders", 1, 5000);
  await seenBy(first, 5001);
  const second = await open({ lastEventId: old });
  assert.deepEqual(await seenBy(second, 5000), numbers(5000, 1));
  await until("one request", () => network.streams() === 1);
  await network.hub.publish("orders", 5001, 10);
  assert.deepEqual(await seenBy(second, 5010), numbers(5010, 1));
  assert.deepEqual(await seenBy(first, 5011), numbers(5011));
});
