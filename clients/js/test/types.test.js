// The declarations of types.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const pathOf = (name) => fileURLToPath(new URL(name, import.meta.url));

const OPTIONS = [
  "--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "", "--lib", "es2022,dom,dom.iterable,dom.asynciterable",
];

/** What the compiler says of these files. */
function compile(...args) {
  return new Promise((resolve) => {
    execFile(pathOf("../node_modules/.bin/tsc"), [...OPTIONS, ...args], (error, stdout) => resolve(error ? stdout || error.message : ""));
  });
}

test("programs in TypeScript compile as they should", async () => {
  assert.equal(await compile(pathOf("types.ts")), "");
});

test("the examples have types, and so have programs that use them", async () => {
  assert.equal(await compile("--allowJs", "--checkJs", "--skipLibCheck", pathOf("examples.ts")), "");
});
