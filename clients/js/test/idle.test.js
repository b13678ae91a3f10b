// The processor time of hidden pages whose streams are quiet, as Chromium counts it: with LONG, of a minute.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isOpen, openPage, skip, startBrowser } from "./support/chromium.js";
import { startHub } from "./support/hub.js";
import { startSite } from "./support/site.js";

const IS_LONG = !!process.env.LONG;
const [SECONDS, HEARTBEAT] = IS_LONG ? [60, "15s"] : [10, "2s"];
/** A five-hundredth of a processor, since a busy machine takes longer for the same. */
const MOST = 2 * SECONDS;
/** Chromium counts the time of a process in steps of 10 ms. */
const STEP = 10;

const PAGES = {
  "without a stream": undefined,
  'with background: "keep"': {},
  'with background: "pause"': { background: "pause" },
  "with share, the leader": { share: true },
  "with share, another": { share: true },
};

test("hidden pages use less than 0.2 % of a processor while their streams are quiet", { skip }, async (t) => {
  const site = await startSite(t, await startHub(t, "dev", "--heartbeat", HEARTBEAT));
  const context = await startBrowser(t);
  const open = async ([what, options]) => ({ what, page: await openHidden(context, site, options) });
  const pages = [];
  for (const kind of Object.entries(PAGES)) pages.push(await open(kind));
  const front = await context.newPage();
  await front.bringToFront();
  for (const page of pages) page.count = await counterOf(context, page);
  // What follows the opening of a page is over.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  for (const page of pages) page.before = await page.count();
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
  for (const { what, before, count } of pages) {
    const { tasks, program } = await count();
    const used = tasks - before.tasks;
    t.diagnostic(`${what}: ${used.toFixed(1)} ms in ${SECONDS} s`);
    assert.ok(used < MOST, `${what}: ${used} ms in ${SECONDS} s`);
    assert.ok(program - before.program <= MOST + 2 * STEP, `${what}: ${program - before.program} ms of the process`);
  }
});

async function openHidden(context, site, options) {
  if (options) {
    const page = await openPage(context, site, "/events/orders", options);
    await isOpen(page);
    return page;
  }
  const page = await context.newPage();
  await page.goto(`${site.base}/elsewhere`);
  return page;
}

/** Returns a function that tells the milliseconds that the page's tasks have used, by the clock of its thread, and its process. */
async function counterOf(context, { what, page }) {
  assert.equal(await page.evaluate(() => document.hidden), true, `${what} is not hidden`);
  const session = await context.newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  return async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    const valueOf = (wanted) => 1000 * metrics.find(({ name }) => name === wanted).value;
    return { tasks: valueOf("TaskDuration"), program: valueOf("ProcessTime") };
  };
}
