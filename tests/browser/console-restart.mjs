// console-restart.mjs BASE_URL [--without-gap]
//
// Opens the console and prints {"ready":{…}} once it counts; the caller then restarts the hub behind the same port.
// Prints {"state":…} at every change of state and, for the first gap row that follows a reconnect and once the count
// goes on, {"gap":…,"count":…}. With --without-gap the hub is expected to know its history again: the count must go on
// after a reconnect, and a gap row is a failure.
import { STEP_MS, check, print, run, until } from "./chromium.mjs";
import { number } from "./console-page.mjs";

await run("console-restart.mjs BASE_URL [--without-gap]", async (browser, base, args) => {
  const page = await browser.newPage();
  page.setDefaultTimeout(STEP_MS);
  const seen = { states: [], gaps: [] };
  await page.exposeFunction("reportState", (state) => {
    seen.states.push(state);
    print({ state });
  });
  await page.exposeFunction("reportGap", (gap) => seen.gaps.push({ gap, reconnected: wasAway(seen.states) }));
  await page.goto(base);
  await page.evaluate(watch);
  await until("two ticks", async () => (await number(page, "#received")) >= 2);
  print({ ready: await lookAt(page) });

  if (args.includes("--without-gap")) return goesOn(page, seen);
  // The caller restarts the hub when it likes, so only the overall time-out bounds this.
  const { gap } = await until("a gap row after a reconnect", () => seen.gaps.find((gap) => gap.reconnected), Infinity);
  const received = await number(page, "#received");
  await until("the count going on after the gap", async () => (await number(page, "#received")) > received);
  const after = await lookAt(page);
  print({ gap, ...after });
  check(after.state === "Live", `the state is ${after.state}`);
  check(after.doubles === 0 && after.holes === 0, `${after.doubles} doubles and ${after.holes} holes beside the gap`);
});

async function goesOn(page, seen) {
  await until("a reconnect", () => wasAway(seen.states) && seen.states.at(-1) === "live", Infinity);
  const received = await number(page, "#received");
  await until("the count going on", async () => (await number(page, "#received")) > received);
  const after = await lookAt(page);
  print({ gap: null, ...after });
  // The counter is in memory, and has a gap of its own.
  check(seen.gaps.length === 0, `a gap was told: ${seen.gaps[0]?.gap}`);
  check(after.doubles === 0 && after.holes === 0, `${after.doubles} doubles and ${after.holes} holes`);
}

function wasAway(states) {
  return states.includes("waiting");
}

/** Runs in the page. */
function watch() {
  const state = document.getElementById("state");
  let last = state.dataset.state;
  window.reportState(last);
  new MutationObserver(() => {
    if (state.dataset.state !== last) window.reportState((last = state.dataset.state));
  }).observe(state, { attributes: true });
  new MutationObserver((records) => {
    for (const row of records.flatMap((record) => [...record.addedNodes])) {
      if (row.className === "gap") window.reportGap(row.textContent);
    }
  }).observe(document.getElementById("rows"), { childList: true });
}

async function lookAt(page) {
  return {
    count: await page.textContent("#count"),
    lastEventId: await page.textContent("#last-event-id"),
    state: await page.textContent("#state"),
    doubles: await number(page, "#doubles"),
    holes: await number(page, "#holes"),
    gaps: await number(page, "#gaps"),
  };
}
