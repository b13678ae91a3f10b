// eventsource.mjs BASE_URL STREAM_PATH COUNT [TYPE…]
//
// A plain EventSource in a blank page of this base. The path may be a URL of another origin. Prints {"state":"open"|"error"} and, for each event,
// {"event":N,"type":…,"id":…,"data":…}, until COUNT events were seen; the hub's own (carafe.…) are printed, with N
// null, but not counted. Events of other types are seen if they are named.
import { check, print, run } from "./chromium.mjs";

const OWN = ["carafe.position", "carafe.gap", "carafe.end", "carafe.expired"];

await run("eventsource.mjs BASE_URL STREAM_PATH COUNT [TYPE…]", async (browser, base, [path, count, ...types]) => {
  check(path && Number(count) > 0, "STREAM_PATH and a COUNT above 0 are needed");
  const page = await blankPage(browser, base);
  await page.exposeFunction("report", print);
  // The page does not learn why an EventSource gave up. Chromium writes it to the console.
  page.on("console", (line) => console.error(line.text()));
  await page.evaluate(listen, { path, count: Number(count), own: OWN, types: ["message", ...types] });
});

/** Answered here and not by the server, which may be behind a proxy that cuts what it carries. */
async function blankPage(browser, base) {
  const page = await browser.newPage({ ignoreHTTPSErrors: true });
  const address = new URL("blank", base).href;
  await page.route(address, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
  await page.goto(address);
  await page.unroute(address);
  return page;
}

/** Runs in the page. Every report is awaited before the last one resolves, so that none is lost. */
function listen({ path, count, own, types }) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(path);
    let reports = Promise.resolve();
    let number = 0;
    const tell = (object) => { reports = reports.then(() => window.report(object)); };
    const tellEvent = ({ type, lastEventId: id, data }) => {
      const counted = !own.includes(type);
      if (number === count) return;
      tell({ event: counted ? (number += 1) : null, type, id, data });
      if (number === count) close();
    };
    const close = () => {
      source.close();
      reports.then(resolve);
    };
    for (const type of [...types, ...own]) source.addEventListener(type, tellEvent);
    source.onopen = () => tell({ state: "open" });
    source.onerror = () => {
      tell({ state: "error" });
      if (source.readyState === EventSource.CLOSED) reports.then(() => reject(new Error("the EventSource gave up")));
    };
  });
}
