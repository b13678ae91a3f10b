// Tabs that share one connection, in Chromium over a hub.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isOpen, numbers, openPage, seenBy, skip, startBrowser, until } from "./support/chromium.js";
import { startHub } from "./support/hub.js";
import { NETWORKS, overEachNetwork } from "./support/networks.js";
import { read } from "./support/read.js";
import { startSite } from "./support/site.js";
import { expiresIn, secretFile, tokenOf, tokenSite } from "./support/token.js";

const IS_LONG = !!process.env.LONG;
const URL_PATH = "/events/orders";
const [plain] = NETWORKS;

/** A network, and tabs that share a stream over it. `check` waits until all tabs have seen all events once and in order. */
async function setUp(t, tabs, { start } = plain, all = {}, ...startArgs) {
  const network = await start(t, ...startArgs);
  const { hub } = network;
  const context = await startBrowser(t);
  const shared = { ...network, context, pages: [], published: 0, open, publish, check, checkOthers };
  for (let tab = 0; tab < tabs; tab++) await open();
  return shared;

  async function open(options = {}) {
    const page = await openPage(context, network, network.url, { share: true, ...network.options, ...all, ...options });
    await isOpen(page);
    shared.pages.push(page);
    page.from = shared.published;
    return page;
  }

  async function publish(count, headers) {
    await hub.publish("orders", shared.published, count, headers);
    shared.published += count;
  }

  async function check() {
    for (const page of shared.pages) {
      const count = shared.published - page.from;
      assert.deepEqual(await seenBy(page, count), numbers(count, page.from), `tab ${shared.pages.indexOf(page)}`);
    }
    await until("one connection", async () => (await network.streams()) === 1);
  }

  /** The tabs but one have seen everything. */
  async function checkOthers(one) {
    for (const page of shared.pages.filter((page) => page !== one)) {
      assert.deepEqual(await seenBy(page, shared.published), numbers(shared.published));
    }
  }
}

/** The tab that has the lock. */
async function leaderOf(pages) {
  for (const page of pages) if (await page.evaluate(leads)) return page;
  throw new Error("no tab leads");
}

/** Runs in the page. */
async function leads() {
  const probe = `probe ${Math.random()}`;
  const own = await navigator.locks.request(probe, async () => (await navigator.locks.query()).held.find(({ name }) => name === probe).clientId);
  return (await navigator.locks.query()).held.some(({ name, clientId }) => name.startsWith("carafe:") && clientId === own);
}

overEachNetwork("10 tabs have one connection, and each event once and in order while leaders close", survivesClosing);
overEachNetwork("another tab leads when the leader is frozen, and the frozen tab catches up", survivesFreezing);
overEachNetwork("tabs that share survive a cut network and a killed hub", survivesFailures);
overEachNetwork("another tab leads while the leader is in the back-forward cache, and it catches up", survivesCaching);
overEachNetwork("tabs that share replace tokens that expire", survivesExpiry);

async function survivesClosing(t, network) {
  const shared = await setUp(t, 10, network);
  await shared.publish(50);
  await shared.check();
  for (let round = 0; round < (IS_LONG ? 20 : 2); round++) {
    const leader = await leaderOf(shared.pages);
    const publishing = shared.publish(200);
    await leader.close();
    shared.pages.splice(shared.pages.indexOf(leader), 1);
    await publishing;
    await shared.publish(10);
    await shared.check();
    await shared.open();
  }
}

async function survivesFreezing(t, network) {
  const shared = await setUp(t, 3, network);
  for (let round = 0; round < (IS_LONG ? 10 : 2); round++) {
    const leader = await leaderOf(shared.pages);
    const session = await shared.context.newCDPSession(leader);
    await session.send("Page.setWebLifecycleState", { state: "frozen" });
    await shared.publish(100);
    await shared.checkOthers(leader);
    await session.send("Page.setWebLifecycleState", { state: "active" });
    await shared.check();
  }
}

async function survivesFailures(t, network) {
  const shared = await setUp(t, 3, network);
  for (let round = 0; round < (IS_LONG ? 10 : 1); round++) {
    await shared.publish(10);
    await shared.check();
    shared.cut();
    await shared.publish(10);
    await shared.check();
    await shared.hub.kill();
    await shared.hub.start();
    await shared.publish(10);
    await shared.check();
  }
}

async function survivesCaching(t, network) {
  const shared = await setUp(t, 3, network);
  for (let round = 0; round < (IS_LONG ? 10 : 1); round++) {
    await shared.publish(10);
    await shared.check();
    const leader = await leaderOf(shared.pages);
    await leader.goto(`${shared.base}/elsewhere`);
    await shared.publish(10);
    await shared.checkOthers(leader);
    await leader.goBack({ waitUntil: "commit" });
    await shared.publish(10);
    await shared.check();
    assert.equal(await leader.evaluate(() => window.persisted), true, "the page was not in the cache");
  }
}

async function survivesExpiry(t, network) {
  const [lifetime, wanted] = IS_LONG ? [5, 12] : [2, 3];
  const tokens = await tokenSite(t, lifetime);
  const shared = await setUp(t, 3, network, { tokens: true }, tokens.args, tokens.routes);
  const headers = { authorization: `Bearer ${expiresIn(600)}` };
  const end = Date.now() + lifetime * 1000 * (wanted - 1);
  while (tokens.given < wanted || Date.now() < end) {
    await shared.publish(5, headers);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await shared.check();
}

test("another tab leads when the leader hangs or crashes", { skip }, async (t) => {
  const shared = await setUp(t, 3);
  const hanging = await leaderOf(shared.pages);
  const session = await shared.context.newCDPSession(hanging);
  await session.send("Debugger.enable");
  await session.send("Debugger.pause");
  hanging.evaluate(() => 1).catch(() => {});
  await shared.publish(100);
  await shared.checkOthers(hanging);
  await session.send("Debugger.disable");
  await shared.check();
  const crashing = await leaderOf(shared.pages);
  const alive = shared.pages.filter((page) => page !== crashing);
  let gone = 0;
  for (const page of shared.pages) page.on("crash", () => gone++);
  const crasher = await shared.context.newCDPSession(crashing);
  crasher.send("Page.crash").catch(() => {});
  await until("the crash", () => gone > 0);
  if (gone > 1) return t.diagnostic("the tabs have one process: no tab is left after a crash");
  shared.pages = alive;
  await shared.publish(100);
  await shared.check();
});

test("a tab with an old position catches up by itself, and then shares", { skip }, async (t) => {
  const shared = await setUp(t, 1);
  await until("a position", () => shared.pages[0].evaluate(() => window.subscription.lastEventId));
  const old = await shared.pages[0].evaluate(() => window.subscription.lastEventId);
  await shared.publish(5000);
  await shared.check();
  const page = await openPage(shared.context, shared, URL_PATH, { share: true, lastEventId: old });
  page.from = 0;
  shared.pages.push(page);
  await shared.check();
  await shared.publish(10);
  await shared.check();
});

test("a tab that joins begins at the last event ID of the URL", { skip }, async (t) => {
  const hub = await startHub(t);
  const site = await startSite(t, hub);
  const context = await startBrowser(t);
  await hub.publish("orders", 0, 3);
  const { ids: [first] } = await read(`${hub.base}${URL_PATH}?earliest`, {}, 1);
  for (let tab = 0; tab < 2; tab++) {
    const page = await openPage(context, site, `${URL_PATH}?last_event_id=${first}`, { share: true });
    assert.deepEqual(await seenBy(page, 2), numbers(2, 1), `tab ${tab}`);
  }
});

test("tabs of different names have different connections, and receive what their own rights allow", { skip }, async (t) => {
  const hub = await startHub(t, "serve", "--secret-file", await secretFile(t));
  const site = await startSite(t, hub);
  const context = await startBrowser(t);
  const exp = Math.floor(Date.now() / 1000) + 600;
  const headers = { authorization: `Bearer ${tokenOf({ publish: ["*"], exp })}` };
  const publish = async (topic) => {
    const { status } = await fetch(`${hub.base}/events/${topic}?private`, { method: "POST", body: `of ${topic}`, headers });
    assert.equal(status, 201);
  };
  const pages = [];
  for (const user of ["ann", "bob", "bob"]) {
    const token = tokenOf({ subscribe: [user, "all"], exp });
    const page = await openPage(context, site, "/events?pattern=*", { share: user, token });
    await isOpen(page);
    pages.push({ user, page });
  }
  assert.equal(site.streams.size, 2, "connections");
  for (const topic of ["ann", "bob", "all"]) await publish(topic);
  for (const { user, page } of pages) assert.deepEqual(await seenBy(page, 2), [`of ${user}`, "of all"]);
});

test("tabs of the browser learn the end of a shared stream", { skip }, async (t) => {
  const hub = await startHub(t);
  let requests = 0;
  let end;
  const site = await startSite(t, hub, {
    "/ends": (response) => {
      if (requests++) return response.writeHead(204).end();
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("retry: 1\n\nid: 1\ndata: a\n\n");
      end = () => response.end();
    },
  });
  const context = await startBrowser(t);
  const pages = [];
  for (let tab = 0; tab < 2; tab++) pages.push(await openPage(context, site, "/ends?last=1", { share: true, retry: 1 }));
  for (const page of pages) await seenBy(page, 1);
  end();
  for (const page of pages) {
    await until("the end", () => page.evaluate(() => window.states.at(-1) === "ended done"));
    assert.deepEqual(await page.evaluate(() => window.seen), ["a"]);
  }
});
