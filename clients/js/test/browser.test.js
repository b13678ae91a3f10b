// The client in Chromium, over a hub.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isOpen, numbers, openPage, seenBy, skip, startBrowser, until } from "./support/chromium.js";
import { startHub } from "./support/hub.js";
import { NETWORKS } from "./support/networks.js";
import { SEED, oddStream, random } from "./support/random.js";
import { startSite } from "./support/site.js";

const IS_LONG = !!process.env.LONG;
const URL_PATH = "/events/orders";
const secure = NETWORKS.find(({ name }) => name.startsWith("TLS"));

async function setUp(t, ...args) {
  const hub = await startHub(t, ...args);
  const site = await startSite(t, hub);
  const context = await startBrowser(t);
  return { hub, site, context };
}

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

test("ten streams of another origin have one connection over TLS and HTTP/2", { skip: skip || secure.skip }, async (t) => {
  const network = await secure.start(t);
  const context = await startBrowser(t);
  const page = await openPage(context, network, network.url);
  await isOpen(page);
  const responses = await responsesOf(context, page);
  await page.evaluate(openMore, network.url);
  await until("ten streams", () => page.evaluate(() => window.more.every(({ state }) => state.name === "open")));
  const streams = await until("their responses", () => {
    const streams = responses.filter(({ mimeType }) => mimeType === "text/event-stream");
    return streams.length >= 10 && streams;
  });
  assert.deepEqual(streams.map(({ protocol }) => protocol), Array(10).fill("h2"));
  assert.equal(new Set(streams.map(({ connectionId }) => connectionId)).size, 1, "connections");
  assert.equal(await page.evaluate(([url, body]) => window.publish(url, body), [network.url, "0"]), 201);
  assert.deepEqual(await seenBy(page, 1), numbers(1));
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
  // Chromium takes a line break right after a byte order mark as a part of the line that follows.
  const isKnown = ({ number }) => /^\ufeff[\r\n]/.test(streamOf(number).toString());
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
