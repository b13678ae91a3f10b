// console-burst.mjs BASE_URL
//
// A burst of 10,000 events in one page. Prints {"burst":…}: what the page did at most in one step, which is exact; the
// longest task by its processor time; and the long tasks that the page itself observes. Those go by the clock, and other
// programs may take the processor in the middle of a task, so they are only reported.
import { STEP_MS, check, print, run, until } from "./chromium.mjs";
import { MARK, allRows, only, open, publishMany } from "./console-page.mjs";

const EVENTS = 10_000;
const LONGEST_MS = 100;
const DATA = JSON.stringify({ drink: "flat white", sizes: [180, 240], note: "x".repeat(100) });
const TASKS = "disabled-by-default-devtools.timeline";

await run("console-burst.mjs BASE_URL", async (browser, base) => {
  const page = await browser.newPage();
  page.setDefaultTimeout(STEP_MS);
  const topic = `test/${MARK}/burst`;
  await open(page, base, only(topic));
  const longestTask = await traceTasks(page);
  await page.evaluate(observeLongTasks);
  await publishMany(page, topic, EVENTS, DATA);
  await until("the newest events", async () => isNewest(await allRows(page)));
  const processorMs = await longestTask();
  const { largest, bounds, observed } = await page.evaluate(report);
  print({ burst: EVENTS, ...largest, processorMs, observed });
  check((await page.textContent("#shown")) === "10,000 received, 200 shown", await page.textContent("#shown"));
  for (const [name, most] of Object.entries(bounds)) check(largest[name] > 0 && largest[name] <= most, { name, largest, bounds });
  check(processorMs > 0 && processorMs <= LONGEST_MS, `a task took ${processorMs} ms of the processor`);
});

function isNewest(rows) {
  return rows.length === 200 && rows.every(({ data }, at) => data.endsWith(` ${EVENTS - 1 - at}`));
}

/** Resolves to a function that ends the trace, and tells the longest processor time of a task in milliseconds. */
async function traceTasks(page) {
  const session = await page.context().newCDPSession(page);
  let longest = 0;
  session.on("Tracing.dataCollected", ({ value }) => {
    for (const { name, tdur = 0 } of value) if (name === "RunTask") longest = Math.max(longest, tdur);
  });
  await session.send("Tracing.start", { transferMode: "ReportEvents", traceConfig: { includedCategories: [TASKS] } });
  return async () => {
    const complete = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
    await session.send("Tracing.end");
    await complete;
    return Math.round(longest / 100) / 10;
  };
}

/** Runs in the page. A long task is one of 50 ms or more. */
function observeLongTasks() {
  window.longTasks = [];
  window.observer = new PerformanceObserver((list) => window.longTasks.push(...list.getEntries()));
  window.observer.observe({ type: "longtask" });
}

/** Runs in the page. */
async function report() {
  const module = (name) => import(new URL(`console/${name}.js`, document.baseURI));
  const [{ largest }, { SLICE }, { FRAME }] = await Promise.all(["pace", "stream", "list"].map(module));
  const tasks = [...window.longTasks, ...window.observer.takeRecords()].map(({ duration }) => Math.round(duration));
  const observed = { longTasks: tasks.length, longestMs: Math.max(0, ...tasks) };
  return { largest, bounds: { slice: SLICE.events, rows: FRAME.rows, scanned: FRAME.scanned }, observed };
}
