// Other runtimes, where they are installed.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "node:test";
import { done, serve, stream } from "./support/server.js";

const run = promisify(execFile);
const PROGRAM = fileURLToPath(new URL("support/reader.js", import.meta.url));

for (const [name, ...args] of [["node"], ["deno", "run", "--allow-net"], ["bun", "run"]]) {
  test(`${name} reads a stream and ends by itself`, async (t) => {
    const version = await run(name, ["--version"]).catch(() => null);
    if (!version) return t.skip(`skipped: ${name} is not installed`);
    const { url } = await serve(t, stream("retry: 1\nid: 1\ndata: a\n\n", true), stream("data: b\n\n", true), done);
    const { stdout } = await run(name, [...args, PROGRAM, url], { timeout: 60_000 });
    assert.deepEqual(stdout.trim().split("\n"), ["a", "b", "ended done"]);
  });
}
