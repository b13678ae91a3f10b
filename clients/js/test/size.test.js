// What a page has to load.
import assert from "node:assert/strict";
import { test } from "node:test";
import { minify } from "../build.js";

for (const [entry, what, limit] of [["index.js", "the client", 4096], ["share/member.js", "sharing, which is loaded on demand,", 2048]]) {
  test(`${what} is at most ${limit / 1024} KB, minified and compressed`, async (t) => {
    const { compressed } = await minify(entry);
    t.diagnostic(`${compressed} bytes`);
    assert.ok(compressed <= limit, `${compressed} bytes`);
  });
}
