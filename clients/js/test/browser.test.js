// The client in Chromium, over a hub.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isOpen, numbers, openPage, seenBy, skip, startBrowser, until } from "./support/chromium.js";
import { startHub } from "./support/hub.js";
import { SEED, oddStream, random } from "./support/random.js";
import { startSite } from "./support/site.js";
import { secretFile, tokenOf } from "./support/token.js";

const IS_LONG = !!process.env.LONG;
const URL_PATH = "/events/orders";

async function setUp(t, ...args) {
  const hub = await startHub(t, ...args);
  const site = await startSite(t, hub);
  const context = await startBrowser(t);
  return { hub, site, context };
}

test("each event is shown once while the network is cut and the hub is killed", { skip }, async (t) => {
  const { hub, site, context } = await setUp(t);
  const page = await openPage(context, site, URL_PATH);
  await isOpen(page);
  const rounds = IS_LONG ? 20 : 4;
  for (let round = 0; round < rounds; round++) {
    await hub.publish("orders", round * 20, 10);
    await seenBy(page, round * 20 + 10);
    if (round % 2) site.cut();
    else await hub.kill();
    if (round % 2 === 0) await hub.start();
    await hub.publish("orders", round * 20 + 10, 10);
    await seenBy(page, round * 20 + 20);
  }
  assert.deepEqual(await seenBy(page, rounds * 20), numbers(rounds * 20));
});

test("a 502 of a proxy is a state, and the page goes on after it", { skip }, async (t) => {
  const { hub, site, context } = await setUp(t);
  const page = await openPage(context, site, URL_PATH);
  await isOpen(page);
  await hub.kill();
  await until("a 502", () => page.evaluate(() => window.states.includes("waiting status 502")));
  await hub.start();
  await hub.publish("orders", 0, 5);
  assert.deepEqual(await seenBy(page, 5), numbers(5));
});

test("a page that reloads at random renders each event once", { skip }, async (t) => {
  t.diagnostic(`SEED=${SEED}`);
  const source = random(SEED);
  const { hub, site, context } = await setUp(t);
  const [events, reloads] = IS_LONG ? [10_000, 100] : [1000, 10];
  const page = await openPage(context, site, URL_PATH, { resume: "orders" });
  await isOpen(page);
  const publishing = (async () => {
    const size = events / reloads;
    for (let at = 0; at < events; at += size) {
      await hub.publish("orders", at, size);
      await new Promise((resolve) => setTimeout(resolve, source.below(100)));
    }
  })();
  for (let reload = 0; reload < reloads; reload++) {
    await new Promise((resolve) => setTimeout(resolve, source.below(100)));
    await page.reload({ waitUntil: "commit" });
  }
  await publishing;
  const rendered = () => page.evaluate(() => sessionStorage.getItem("rendered")?.split(",").slice(0, -1) ?? []);
  await until("all events", async () => (await rendered()).length >= events);
  assert.deepEqual(await rendered(), numbers(events), `SEED=${SEED}`);
});

test("a frozen page releases its connection, and catches up when it runs again", { skip }, async (t) => {
  const { hub, site, context } = await setUp(t);
  const page = await openPage(context, site, URL_PATH);
  await isOpen(page);
  const session = await context.newCDPSession(page);
  await session.send("Page.setWebLifecycleState", { state: "frozen" });
  await until("no connection", () => site.streams.size === 0);
  await hub.publish("orders", 0, 100);
  await session.send("Page.setWebLifecycleState", { state: "active" });
  assert.deepEqual(await seenBy(page, 100), numbers(100));
  assert.ok((await page.evaluate(() => window.states)).includes("waiting hidden"));
});

test("a page in the back-forward cache continues when it is shown again", { skip }, async (t) => {
  const { hub, site, context } = await setUp(t);
  const page = await openPage(context, site, URL_PATH);
  await isOpen(page);
  await hub.publish("orders", 0, 10);
  await seenBy(page, 10);
  await page.goto(`${site.base}/elsewhere`);
  await until("no connection", () => site.streams.size === 0);
  await hub.publish("orders", 10, 10);
  await page.goBack({ waitUntil: "commit" });
  assert.deepEqual(await seenBy(page, 20), numbers(20));
  assert.equal(await page.evaluate(() => window.persisted), true, "the page was not in the cache");
});

test("a hidden page with background: pause has no connection", { skip }, async (t) => {
  const { hub, site, context } = await setUp(t);
  const page = await openPage(context, site, URL_PATH, { background: "pause" });
  await isOpen(page);
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  }, hidden);
  await hide(true);
  await until("no connection", () => site.streams.size === 0);
  await hub.publish("orders", 0, 10);
  await hide(false);
  assert.deepEqual(await seenBy(page, 10), numbers(10));
});

test("tokens that expire are replaced, and no event is lost", { skip }, async (t) => {
  const hub = await startHub(t, "serve", "--secret-file", await secretFile(t));
  const expires = (seconds) => tokenOf({ subscribe: ["*"], publish: ["*"], exp: Math.floor(Date.now() / 1000) + seconds });
  let tokens = 0;
  const giveToken = (response) => { tokens++; response.end(expires(2)); };
  const site = await startSite(t, hub, { "/token": giveToken });
  const page = await openPage(await startBrowser(t), site, URL_PATH, { tokens: true });
  await isOpen(page);
  const wanted = IS_LONG ? 12 : 3;
  let published = 0;
  while (tokens < wanted) {
    await hub.publish("orders", published, 5, { authorization: `Bearer ${expires(60)}` });
    published += 5;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.deepEqual(await seenBy(page, published), numbers(published));
});

test("a page of another origin resumes over TLS and HTTP/2, where ten streams have one connection", { skip }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "carafe-client-"));
  t.after(() => rm(folder, { recursive: true }));
  const [key, certificate] = ["key.pem", "certificate.pem"].map((name) => join(folder, name));
  const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"];
  const { error } = spawnSync("openssl", [...request, "-keyout", key, "-out", certificate], { stdio: "ignore" });
  if (error) return t.skip("skipped: openssl is missing");
  const hub = await startHub(
    t, "serve", "--anonymous", "publish", "--anonymous", "subscribe", "--allow-origin", "http://127.0.0.1:*", "--tls-cert", certificate, "--tls-key", key,
  );
  const site = await startSite(t, hub);
  const context = await startBrowser(t);
  const page = await openPage(context, site, `${hub.base}${URL_PATH}`, { token: undefined });
  await isOpen(page);
  const responses = await responsesOf(context, page);
  await page.evaluate(openMore, `${hub.base}${URL_PATH}`);
  await until("ten streams", () => page.evaluate(() => window.more.every(({ state }) => state.name === "open")));
  const streams = await until("their responses", () => {
    const streams = responses.filter(({ mimeType }) => mimeType === "text/event-stream");
    return streams.length >= 10 && streams;
  });
  assert.deepEqual(streams.map(({ protocol }) => protocol), Array(10).fill("h2"));
  assert.equal(new Set(streams.map(({ connectionId }) => connectionId)).size, 1, "connections");
  const publish = async (from, count) => {
    for (const number of numbers(count, from)) {
      assert.equal(await page.evaluate(([url, body]) => window.publish(url, body), [`${hub.base}${URL_PATH}`, number]), 201);
    }
  };
  await publish(0, 10);
  await seenBy(page, 10);
  await hub.kill();
  await hub.start();
  await publish(10, 10);
  assert.deepEqual(await seenBy(page, 20), numbers(20));
});

/** The responses that a page receives from now on, with their protocols and connections. */
async function responsesOf(context, page) {
  const responses = [];
  const session = await context.newCDPSession(page);
  session.on("Network.responseReceived", ({ response }) => responses.push(response));
  await session.send("Network.enable");
  return responses;
}

/** Runs in the page. Over HTTP/1.1, Chromium would open six. */
async function openMore(url) {
  const { EventSource: Own } = await import("/src/index.js");
  window.more = Array.from({ length: 10 }, () => new Own(url));
}

test("generated streams decode as Chromium decodes them", { skip }, async (t) => {
  t.diagnostic(`SEED=${SEED}`);
  const count = IS_LONG ? 10_000 : 300;
  const streamOf = (number) => oddStream(random(SEED + number));
  const route = (response, { url }) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(streamOf(Number(url.split("/").pop())));
  };
  const site = await startSite(t, { base: "http://127.0.0.1:9" }, { "/generated/": route });
  const context = await startBrowser(t);
  const page = await context.newPage();
  await page.goto(`${site.base}/#{}`);
  const differences = await page.evaluate(compare, count);
  // Chromium loses the line after a byte order mark and a CR that ends the first line.
  const isKnown = ({ number }) => streamOf(number).toString().startsWith("\ufeff\r");
  assert.deepEqual(differences.filter((difference) => !isKnown(difference)), [], `SEED=${SEED}`);
});

/** Runs in the page. The streams have events of few types. */
async function compare(count) {
  const { EventSource: Own } = await import("/src/index.js");
  const read = (Class, url) => new Promise((resolve) => {
    const events = [];
    const source = new Class(url);
    const note = ({ type, data, lastEventId }) => events.push([type, data, lastEventId]);
    for (const type of ["message", "c", ":", " "]) source.addEventListener(type, note);
    source.addEventListener("error", () => {
      source.close();
      resolve(events);
    });
  });
  const differences = [];
  let total = 0;
  for (let number = 0; number < count; number++) {
    const [own, native] = await Promise.all([Own, EventSource].map((Class) => read(Class, `/generated/${number}`)));
    total += native.length;
    if (JSON.stringify(own) !== JSON.stringify(native)) differences.push({ number, own, native });
  }
  if (total === 0) throw new Error("the streams have no events");
  return differences;
}
