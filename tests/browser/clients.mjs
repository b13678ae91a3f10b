// clients.mjs BASE_URL STREAM_PATH COUNT CLIENT…
//
// Clients of the browser, all in one blank page of the same origin. Each CLIENT is a name below. Prints one line of JSON
// for each event, {"client":…,"type":…,"id":…,"data":…}, until each client has seen COUNT ordinary events.
import { readFile } from "node:fs/promises";
import { check, print, run } from "./chromium.mjs";

const MODULES = new URL("../clients/node_modules/", import.meta.url);
const OWN = ["carafe.position", "carafe.gap", "carafe.end", "carafe.expired", "carafe.heartbeat"];

const usage = "clients.mjs BASE_URL STREAM_PATH COUNT CLIENT…";
await run(usage, async (browser, base, [path, count, ...clients]) => {
  check(path && Number(count) > 0 && clients.length > 0, `usage: ${usage}`);
  const page = await pageWithModules(browser, base);
  await page.exposeFunction("report", print);
  await page.evaluate(readAll, { path, count: Number(count), clients, own: OWN });
}, 300_000);

/** A blank page that can import the packages. The hub serves neither. */
async function pageWithModules(browser, base) {
  const page = await browser.newPage();
  const blank = new URL("blank", base).href;
  await page.route(blank, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
  await page.route("**/modules/**", async (route) => {
    const [, name] = new URL(route.request().url()).pathname.split("/modules/");
    // Bundlers resolve imports without an extension.
    const file = new URL(name.endsWith(".js") ? name : `${name}.js`, MODULES);
    await route.fulfill({ contentType: "text/javascript", body: await readFile(file) });
  });
  await page.goto(blank);
  return page;
}

/** Runs in the page. Each client resolves when it has seen all events. */
async function readAll({ path, count, clients, own }) {
  const listen = (source, show) => {
    for (const type of ["message", ...own]) {
      source.addEventListener(type, ({ lastEventId, data }) => show(type, lastEventId, data));
    }
  };
  const starts = {
    native: (show) => listen(new EventSource(path), show),
    "event-source-polyfill": async (show) => {
      await import("/modules/event-source-polyfill/src/eventsource.js");
      listen(new window.EventSourcePolyfill(path), show);
    },
    "reconnecting-eventsource": async (show) => {
      const { default: Reconnecting } = await import("/modules/reconnecting-eventsource/build/esm/reconnecting-eventsource.js");
      listen(new Reconnecting(path), show);
    },
    "fetch-event-source": async (show) => {
      const { fetchEventSource } = await import("/modules/@microsoft/fetch-event-source/lib/esm/index.js");
      await fetchEventSource(path, {
        openWhenHidden: true,
        onmessage: ({ event, id, data }) => data && show(event || "message", id, data),
        // A stream that ends in order is over for this client, unless that is an error.
        onclose: () => { throw new Error("the stream has ended"); },
      });
    },
  };
  let reports = Promise.resolve();
  const read = (client) => new Promise((resolve, reject) => {
    let left = count;
    const show = (type, id, data) => {
      if (left === 0) return;
      reports = reports.then(() => window.report({ client, type, id, data }));
      if (!own.includes(type) && --left === 0) resolve();
    };
    Promise.resolve(starts[client](show)).catch(reject);
  });
  await Promise.all(clients.map(read));
  await reports;
}
