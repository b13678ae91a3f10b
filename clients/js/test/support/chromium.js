// Chromium, as the tests of the hub have it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { hasHub } from "./hub.js";

const PLAYWRIGHT = new URL("../../../../tests/browser/node_modules/playwright-core/index.mjs", import.meta.url);
const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-features=LocalNetworkAccessChecks",
  // Tests make their own certificates.
  "--ignore-certificate-errors",
];
const exists = (path) => access(path).then(() => true, () => false);

/** Why there are no tests with Chromium in this run, or `false`. */
export const skip = await reasonAgainst();

async function reasonAgainst() {
  if (process.env.CARAFE_TEST_WITHOUT?.split(",").includes("browser")) return "skipped: this run is without browser";
  if (!hasHub) return "skipped: there is no hub: build it, or name one in CARAFE";
  if (!(await exists(PLAYWRIGHT))) return "skipped: the Node packages of tests/browser are missing";
  if (!(await exists(EXECUTABLE))) return "skipped: Chromium is missing";
  return false;
}

/** A browser for one test, as a user starts it: its pages are hidden by the tab in front, can be frozen, and are cached. */
export async function startBrowser(t) {
  const { chromium } = await import(PLAYWRIGHT);
  const profile = await mkdtemp(join(tmpdir(), "carafe-chromium-"));
  const program = spawn(EXECUTABLE, [...FLAGS, "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const exit = once(program, "exit");
  const browser = await chromium.connectOverCDP(await endpointOf(program), { noDefaults: true });
  t.after(async () => {
    await browser.close().catch(() => {});
    program.kill("SIGKILL");
    await exit;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  return browser.contexts()[0];
}

async function endpointOf(program) {
  const lines = createInterface(program.stderr);
  for await (const line of lines) {
    const [endpoint] = /ws:\S+/.exec(line) ?? [];
    if (!endpoint) continue;
    program.stderr.resume();
    return endpoint;
  }
  throw new Error("Chromium has ended");
}

/** Opens a page of a network or a site that streams `url` with these options. */
export async function openPage(context, { base }, url, options = {}) {
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error(`page: ${error.message}`));
  await page.goto(`${base}/#${encodeURIComponent(JSON.stringify({ url, ...options }))}`);
  return page;
}

/** Asks `probe` until its answer is true. */
export async function until(what, probe, limit = 60_000) {
  const deadline = Date.now() + limit;
  let answer;
  while (!(answer = await probe())) {
    if (Date.now() > deadline) throw new Error(`waited ${limit / 1000} s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return answer;
}

/** Waits until a page has seen so many events, and returns their data. */
export async function seenBy(page, count) {
  await until(`${count} events`, () => page.evaluate((count) => window.seen?.length >= count, count).catch(() => false))
    .catch(async (error) => {
      const { seen, states } = await page.evaluate(() => ({ seen: window.seen.slice(-3), states: window.states.slice(-8) }));
      throw new Error(`${error.message}; the last ${seen} after ${states}`);
    });
  return page.evaluate(() => window.seen);
}

export function isOpen(page) {
  return until("an open stream", () => page.evaluate(() => window.states?.at(-1)?.startsWith("open")));
}

export const numbers = (count, from = 0) => Array.from({ length: count }, (_, at) => String(from + at));
