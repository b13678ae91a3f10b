// The declarations of types.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const pathOf = (name) => fileURLToPath(new URL(name, import.meta.url));

test("programs in TypeScript compile as they should", async () => {
  const options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "", "--lib", "es2022,dom,dom.iterable,dom.asynciterable"];
  const output = await new Promise((resolve) => {
    execFile(pathOf("../node_modules/.bin/tsc"), [...options, pathOf("types.ts")], (error, stdout) => resolve(error ? stdout || error.message : ""));
  });
  assert.equal(output, "");
});
