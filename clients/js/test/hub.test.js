// The client in Node, over a hub.
import assert from "node:assert/strict";
import { test } from "node:test";
import { subscribe } from "../src/index.js";
import { numbers } from "./support/chromium.js";
import { hasHub, startHub } from "./support/hub.js";
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
  for await (const { data } of subscription) {
    seen.push(data);
    if (seen.length === 10) await hub.publish("orders", 10, 10);
    if (seen.length === 20) {
      site.buffers = false;
      // The time of polling is over.
      Date.now = () => now() + 61_000;
      await hub.publish("orders", 20, 10);
    }
    if (seen.length === 30) hub.publish("orders", 30, 10);
    if (seen.length === 40) break;
  }
  assert.deepEqual(seen, numbers(40));
  assert.deepEqual([transports.includes("poll"), transports.filter((name) => name === "stream" || name === "poll").at(-1)], [true, "stream"]);
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
