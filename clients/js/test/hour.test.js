// A long time in Chromium, whose clock runs faster: with LONG, an hour over each network.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isOpen, numbers, openPage, seenBy, skip, startBrowser, until } from "./support/chromium.js";
import { NETWORKS, OPEN } from "./support/networks.js";
import { SEED, random } from "./support/random.js";
import { SCALE, controlTime } from "./support/virtual_time.js";

const IS_LONG = !!process.env.LONG;
const [MINUTES, TABS, OVER] = IS_LONG ? [60, 10, NETWORKS] : [3, 3, NETWORKS.slice(0, 1)];
const STEP = 5000;
/** 15 seconds of the pages. */
const HEARTBEAT = ["--heartbeat-range", "100ms..60s", "--heartbeat", `${15_000 / SCALE}ms`];

for (const network of OVER) {
  test(`${MINUTES} minutes of tabs that share: each event once and in order, and one connection, over ${network.name}`, { skip: skip || network.skip }, async (t) => {
    t.diagnostic(`SEED=${SEED}`);
    const { below } = random(SEED);
    const { hub, url, base, options, streams, site } = await network.start(t, [...OPEN, ...HEARTBEAT]);
    if (site) site.scale = SCALE;
    const context = await startBrowser(t);
    const pages = [];
    for (let tab = 0; tab < TABS; tab++) {
      const page = await openPage(context, { base }, url, { ...options, heartbeat: undefined, share: true });
      await isOpen(page);
      pages.push(page);
    }
    const time = await controlTime(context, pages);
    const begun = await pages[0].evaluate(() => Date.now());
    let published = 0;
    for (let step = 0; step < (MINUTES * 60_000) / STEP; step++) {
      await time.pass(STEP);
      // Some minutes are quiet.
      if (below(8)) continue;
      const count = 1 + below(50);
      await hub.publish("orders", published, count);
      published += count;
    }
    for (const page of pages) assert.deepEqual(await seenBy(page, published), numbers(published), `SEED=${SEED}`);
    for (const page of pages) assert.deepEqual(await page.evaluate(() => window.states), ["connecting", "open stream 200"]);
    if (network === NETWORKS[0]) assert.equal(site.accepted.length, 1, "requests");
    // A page that polls may wait before its next request.
    await until("one connection", async () => (await streams()) === 1 || time.pass(1000));
    const passed = await pages[0].evaluate((begun) => Date.now() - begun, begun);
    assert.ok(passed >= MINUTES * 60_000, `${passed} ms`);
    t.diagnostic(`${published} events, ${TABS} tabs`);
  });
}
