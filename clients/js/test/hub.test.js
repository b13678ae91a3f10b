// The client in Node, over a hub.
import assert from "node:assert/strict";
import { test } from "node:test";
import { subscribe } from "../src/index.js";
import { numbers } from "./support/chromium.js";
import { hasHub, startHub } from "./support/hub.js";
import { read } from "./support/read.js";
import { startSite } from "./support/site.js";

const skip = !hasHub && "skipped: there is no hub: build it, or name one in CARAFE";

test("where a proxy buffers streams, pages of the hub bring each event once, and streaming returns", { skip }, async (t) => {
  const hub = await startHub(t);
  const site = await startSite(t, hub);
  site.buffers = true;
  const now = Date.now;
  t.after(() => { Date.now = now; });
  const seen = [];
  const transports = [];
  const subscription = subscribe(`${site.base}/events/orders?earliest`, {
    fallback: 2000,
    onState: ({ name, reason, transport }) => transports.push(transport ?? reason ?? name),
  });
  await hub.publish("orders", 0, 10);
  let last;
  for await (const { data } of subscription) {
    seen.push(data);
    if (seen.length === 10) await hub.publish("orders", 10, 10);
    if (seen.length === 20) {
      site.buffers = false;
      // The time of polling is over.
      Date.now = () => now() + 61_000;
      await hub.publish("orders", 20, 10);
    }
    if (seen.length === 30) last = hub.publish("orders", 30, 10);
    if (seen.length === 40) break;
  }
  await last;
  assert.deepEqual(seen, numbers(40));
  assert.deepEqual([transports.includes("poll"), transports.filter((name) => name === "stream" || name === "poll").at(-1)], [true, "stream"]);
});

/** The base URLs of a hub with three orders: its own, and that of a proxy that buffers streams. */
async function withHistory(t) {
  const hub = await startHub(t);
  const site = await startSite(t, hub);
  site.buffers = true;
  await hub.publish("orders", 0, 3);
  return { hub, bases: [hub.base, site.base] };
}

test("with fallback, a stream that asks for no history begins with new events, buffered or not", { skip }, async (t) => {
  const { hub, bases } = await withHistory(t);
  let published = 3;
  for (const base of bases) {
    for (const query of ["", "?last_event_id=", "?earliest=false"]) {
      let publishing;
      const publishOnce = ({ name }) => {
        if (name === "open") publishing ??= hub.publish("orders", published, 1);
      };
      const { data, error } = await read(`${base}/events/orders${query}`, { fallback: 300, onState: publishOnce }, 1);
      await publishing;
      assert.deepEqual([data, error], [[String(published++)], undefined], base + query);
    }
  }
});

test("with fallback, a stream begins where its URL says", { skip }, async (t) => {
  const { bases } = await withHistory(t);
  const { ids } = await read(`${bases[0]}/events/orders?earliest`, {}, 3);
  for (const base of bases) {
    for (const [query, wanted] of [
      ["earliest", numbers(3)], ["last=2", numbers(2, 1)], ["latest", numbers(1, 2)],
      [`last_event_id=${ids[0]}`, numbers(2, 1)], [`lastEventId=${ids[1]}`, numbers(1, 2)],
    ]) {
      const { data } = await read(`${base}/events/orders?${query}`, { fallback: 300 }, wanted.length);
      assert.deepEqual(data, wanted, `${base} ${query}`);
    }
  }
});

test("after a snapshot, polling has all events", { skip }, async (t) => {
  const { hub, bases: [, buffering] } = await withHistory(t);
  const seen = [];
  for await (const { data } of subscribe(`${buffering}/events/orders?latest`, { fallback: 200 })) {
    // Nothing is requested meanwhile, so both are there at the next poll.
    if (seen.push(data) === 1) await hub.publish("orders", 3, 2);
    if (data === "4") break;
  }
  assert.deepEqual(seen, ["2", "3", "4"]);
});

test("a snapshot of several pages has one event of each topic", { skip }, async (t) => {
  const { hub, bases } = await withHistory(t);
  await Promise.all(numbers(150).map((number) => hub.publish(`lamps/${number}`, 0, 1)));
  await hub.publish("lamps/0", 1, 5);
  for (const base of bases) {
    const { data } = await read(`${base}/events?pattern=lamps/*&latest`, { fallback: 200 }, 150);
    assert.deepEqual(data, [...Array(149).fill("0"), "5"], base);
  }
});

test("polling tells how a topic has ended", { skip }, async (t) => {
  const { hub, bases } = await withHistory(t);
  const response = await fetch(`${hub.base}/events/orders?end=failed&reason=no+beans`, { method: "POST" });
  assert.equal(response.status, 201);
  for (const base of bases) {
    const { data, controls, states } = await read(`${base}/events/orders?earliest`, { fallback: 200 });
    assert.deepEqual([data, states.at(-1).reason], [numbers(3), "done"]);
    const [{ id, position, ...end }] = controls.slice(-1);
    assert.equal(id, position);
    assert.deepEqual(end, { control: "end", topic: "orders", outcome: "failed", reason: "no beans" }, base);
  }
});

test("an old position is a gap, and the stream goes on", { skip }, async (t) => {
  const hub = await startHub(t);
  await hub.publish("orders", 0, 3);
  const gaps = [];
  const seen = [];
  const options = { lastEventId: "000000000000-1-00000000", onControl: ({ control, reason }) => control === "gap" && gaps.push(reason) };
  for await (const { data } of subscribe(`${hub.base}/events/orders`, options)) if (seen.push(data) === 3) break;
  assert.deepEqual([gaps, seen], [["foreign"], numbers(3)]);
});
