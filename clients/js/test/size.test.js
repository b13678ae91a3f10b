// What a page has to load.
import assert from "node:assert/strict";
import { test } from "node:test";
import { minify } from "../build.js";

const LIMITS = [
  ["index.js", "the client", 4096],
  ["share/member.js", "sharing, which is loaded on demand,", 2500],
  ["pages.js", "polling, which is loaded on demand,", 1100],
];

for (const [entry, what, limit] of LIMITS) {
  test(`${what} is at most ${limit} bytes, minified and compressed`, async (t) => {
    const { compressed } = await minify(entry);
    t.diagnostic(`${compressed} bytes`);
    assert.ok(compressed <= limit, `${compressed} bytes`);
  });
}
