// Other runtimes, as `cargo xtask test` installs them: a program, and the tests of the client that need no hub.
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { done, serve, stream } from "./support/server.js";

const RUNTIMES = [
  { name: "node", run: [] },
  { name: "deno", run: ["run", "--allow-net"], test: ["test", "--allow-all", "--no-check", "--node-modules-dir=manual"] },
  { name: "bun", run: ["run"], test: ["test"] },
];
const FILES = ["decoder", "event_source", "fallback", "requests", "states", "wakeups"];
const LONGEST = 300_000;
const HERE = fileURLToPath(new URL(".", import.meta.url));
const INSTALLED = join(HERE, "../../../tests/runtimes/node_modules/.bin");

/** Runs a program. Returns what it has printed, and whether it has failed. */
function run(program, args, options) {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: LONGEST, maxBuffer: 1 << 26, ...options }, (error, stdout, stderr) => resolve({ error, stdout, stderr }));
  });
}

for (const runtime of RUNTIMES) {
  const installed = join(INSTALLED, runtime.name);
  const program = existsSync(installed) ? installed : runtime.name;
  const skip = spawnSync(program, ["--version"]).status !== 0 && `skipped: ${runtime.name} is not installed: npm ci --prefix tests/runtimes`;

  test(`${runtime.name} reads a stream and ends by itself`, { skip }, async (t) => {
    const { url } = await serve(t, stream("retry: 1\nid: 1\ndata: a\n\n", true), stream("data: b\n\n", true), done);
    const { stdout, stderr } = await run(program, [...runtime.run, join(HERE, "support/reader.js"), url], { env: await environment(t) });
    assert.deepEqual(stdout.trim().split("\n"), ["a", "b", "ended done"], stderr);
  });

  if (runtime.test) test(`the tests of the client pass in ${runtime.name}`, { skip }, async (t) => {
    const files = FILES.map((name) => `./${name}.test.js`);
    const { error, stdout, stderr } = await run(program, [...runtime.test, ...files], { cwd: HERE, env: await environment(t) });
    const output = `${stdout}\n${stderr}`;
    assert.equal(error, null, output);
    const [, passed] = /(\d+) pass/.exec(output) ?? [];
    t.diagnostic(`${passed} tests`);
    assert.ok(passed >= 90, output);
  });
}

/** Without the caches and the update checks of a user. */
async function environment(t) {
  const folder = await mkdtemp(join(tmpdir(), "carafe-client-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return { PATH: process.env.PATH, HOME: folder, DENO_DIR: folder, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", DO_NOT_TRACK: "1" };
}
