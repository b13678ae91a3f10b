// What a page has to load.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compressedSize, minify } from "../build.js";

test("the client is at most 4 KB, minified and compressed", async (t) => {
  const size = compressedSize(await minify("index.js"));
  t.diagnostic(`${size} bytes`);
  assert.ok(size <= 4096, `${size} bytes`);
});
