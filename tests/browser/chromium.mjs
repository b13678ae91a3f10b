// What the scripts here share: one Chromium, one overall time-out, one line of JSON for each thing seen.
import { chromium } from "playwright-core";

/** Far more than any script needs, since machines that run tests may be busy. */
const LIMIT_MS = 300_000;
export const STEP_MS = 60_000;
const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  // Else a page that a script answers itself is one of the Internet, and may not reach this machine.
  "--disable-features=LocalNetworkAccessChecks",
  ...(process.env.CHROMIUM_FLAGS?.split(" ") ?? []),
];

/** Runs `work(browser, base, args)`; closes the browser whatever happens, and exits with what came of it. */
export async function run(usage, work, limitMs) {
  const [base, ...args] = process.argv.slice(2);
  if (!base) end(2, `usage: ${usage}`);
  await withBrowser((browser) => work(browser, asDirectory(base), args), limitMs);
}

/** The same without arguments. */
export async function withBrowser(work, limitMs = LIMIT_MS) {
  // Playwright makes a fresh user data directory for each launch, and removes it.
  const browser = await launch().catch((error) => end(1, `no browser: ${error.message}`));
  const limit = setTimeout(() => finish(browser, new Error(`not done after ${limitMs / 1000} s`)), limitMs);
  const failure = await work(browser).then(() => null, (error) => error);
  clearTimeout(limit);
  await finish(browser, failure);
}

export function print(object) {
  console.log(JSON.stringify(object));
}

export function check(holds, otherwise) {
  if (!holds) throw new Error(typeof otherwise === "string" ? otherwise : JSON.stringify(otherwise));
}

/** Asks `probe` until it answers something truthy, and returns that. */
export async function until(what, probe, limit = STEP_MS) {
  const deadline = Date.now() + limit;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${limit / 1000} s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

/** A base without its last slash would lose its last segment when paths are resolved against it. */
function asDirectory(base) {
  return base.endsWith("/") ? base : `${base}/`;
}

async function finish(browser, failure) {
  await browser.close().catch((error) => console.error(`the browser did not close: ${error.message}`));
  end(failure ? 1 : 0, failure?.message);
}

function end(status, reason) {
  if (reason) console.error(reason);
  process.exit(status);
}
