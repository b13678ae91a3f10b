// One page in Chromium, over each network: nothing is lost or shown twice, whatever happens to the page, the hub and between.
import assert from "node:assert/strict";
import { isOpen, numbers, openPage, seenBy, startBrowser, until } from "./support/chromium.js";
import { overEachNetwork } from "./support/networks.js";
import { SEED, random } from "./support/random.js";
import { expiresIn, tokenSite } from "./support/token.js";

const IS_LONG = !!process.env.LONG;

overEachNetwork("each event is shown once while the network is cut and the hub is killed", survivesFailures);
overEachNetwork("a page that reloads at random renders each event once", survivesReloads);
overEachNetwork("a frozen page releases its connection, and catches up when it runs again", survivesFreezing);
overEachNetwork("a page in the back-forward cache continues when it is shown again", survivesCaching);
overEachNetwork("tokens that expire are replaced, and no event is lost", survivesExpiry);

/** A network with a page that streams over it. */
async function setUp(t, { start }, options = {}, ...startArgs) {
  const network = await start(t, ...startArgs);
  const context = await startBrowser(t);
  const page = await openPage(context, network, network.url, { ...network.options, ...options });
  await isOpen(page);
  return { ...network, context, page };
}

const isReleased = (network) => until("no connection", async () => (await network.streams()) === 0);

async function survivesFailures(t, kind) {
  const { hub, page, cut } = await setUp(t, kind);
  const rounds = IS_LONG ? 20 : 2;
  for (let round = 0; round < rounds; round++) {
    await hub.publish("orders", round * 20, 10);
    await seenBy(page, round * 20 + 10);
    if (round % 2) cut();
    else await hub.kill();
    if (round % 2 === 0) await hub.start();
    await hub.publish("orders", round * 20 + 10, 10);
    await seenBy(page, round * 20 + 20);
  }
  assert.deepEqual(await seenBy(page, rounds * 20), numbers(rounds * 20));
}

async function survivesReloads(t, kind) {
  t.diagnostic(`SEED=${SEED}`);
  const source = random(SEED);
  const { hub, page } = await setUp(t, kind, { resume: "orders" });
  const [events, reloads] = IS_LONG ? [10_000, 100] : [1000, 10];
  // Where a stream is buffered, some pages live until they poll.
  const pause = () => new Promise((resolve) => setTimeout(resolve, source.below(source.below(4) ? 100 : 800)));
  const publishing = (async () => {
    const size = events / reloads;
    for (let at = 0; at < events; at += size) {
      await hub.publish("orders", at, size);
      await pause();
    }
  })();
  for (let reload = 0; reload < reloads; reload++) {
    await pause();
    await page.reload({ waitUntil: "commit" });
  }
  await publishing;
  const rendered = () => page.evaluate(() => sessionStorage.getItem("rendered")?.split(",").slice(0, -1) ?? []).catch(() => []);
  await until("all events", async () => (await rendered()).length >= events);
  assert.deepEqual(await rendered(), numbers(events), `SEED=${SEED}`);
}

async function survivesFreezing(t, kind) {
  const network = await setUp(t, kind);
  const { hub, context, page } = network;
  const session = await context.newCDPSession(page);
  await session.send("Page.setWebLifecycleState", { state: "frozen" });
  await isReleased(network);
  await hub.publish("orders", 0, 100);
  await session.send("Page.setWebLifecycleState", { state: "active" });
  assert.deepEqual(await seenBy(page, 100), numbers(100));
  assert.ok((await page.evaluate(() => window.states)).includes("waiting hidden"));
}

async function survivesCaching(t, kind) {
  const network = await setUp(t, kind);
  const { hub, page, base } = network;
  await hub.publish("orders", 0, 10);
  await seenBy(page, 10);
  await page.goto(`${base}/elsewhere`);
  await isReleased(network);
  await hub.publish("orders", 10, 10);
  await page.goBack({ waitUntil: "commit" });
  assert.deepEqual(await seenBy(page, 20), numbers(20));
  assert.equal(await page.evaluate(() => window.persisted), true, "the page was not in the cache");
}

async function survivesExpiry(t, kind) {
  const [lifetime, wanted] = IS_LONG ? [5, 12] : [2, 3];
  const tokens = await tokenSite(t, lifetime);
  const { hub, page } = await setUp(t, kind, { tokens: true }, tokens.args, tokens.routes);
  let published = 0;
  for (const begun = Date.now(); tokens.given < wanted || Date.now() < begun + lifetime * 1000 * (wanted - 1);) {
    await hub.publish("orders", published, 5, { authorization: `Bearer ${expiresIn(60)}` });
    published += 5;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.deepEqual(await seenBy(page, published), numbers(published));
}
