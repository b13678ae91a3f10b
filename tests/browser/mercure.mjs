// mercure.mjs BASE_URL COOKIE=TOKEN QUERY COUNT TOPIC
//
// A page of the hub's own origin, whose cookie an application has set. It reads a stream of /.well-known/mercure by
// EventSource, and prints {"state":"open"|"error"} and {"event":N,"type":…,"id":…,"data":…} until COUNT were seen, of any
// type that is "message" or "greeting". Then it publishes to TOPIC by the cookie, and prints {"published":STATUS,"id":…}; asks
// what it resumes after, and prints {"cursor":…}; and asks by QUERY, and prints {"query":STATUS,"begins":…}.
import { check, print, run } from "./chromium.mjs";

const HUB = "/.well-known/mercure";

await run("mercure.mjs BASE_URL COOKIE=TOKEN QUERY COUNT TOPIC", async (browser, base, args) => {
  const [cookie, query, count, topic] = args;
  check(cookie?.includes("=") && query && Number(count) > 0 && topic, "a cookie, a query, a COUNT above 0 and a TOPIC are needed");
  // The certificate of a test is nobody's.
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  await context.addCookies([asApplicationsSetIt(base, cookie)]);
  const page = await context.newPage();
  const address = new URL("blank", base).href;
  await page.route(address, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html>" }));
  await page.goto(address);
  check(await page.evaluate(() => document.cookie) === "", "a script can read the cookie");
  await page.exposeFunction("report", print);
  const first = await page.evaluate(listen, { url: `${HUB}?${query}`, count: Number(count) });
  print(await page.evaluate(publish, { url: HUB, topic }));
  print(await page.evaluate(resume, { url: `${HUB}?${query}`, first }));
  print(await page.evaluate(ask, { url: HUB, query, first }));
});

/** Scripts cannot read it, and it is sent to the hub alone. */
function asApplicationsSetIt(base, cookie) {
  const [name, value] = [cookie.slice(0, cookie.indexOf("=")), cookie.slice(cookie.indexOf("=") + 1)];
  const { hostname: domain, protocol } = new URL(base);
  return { name, value, domain, path: HUB, httpOnly: true, sameSite: "Strict", secure: protocol === "https:" };
}

// The rest runs in the page.

function listen({ url, count }) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(url, { withCredentials: true });
    let reports = Promise.resolve();
    let first;
    let number = 0;
    const tell = (object) => { reports = reports.then(() => window.report(object)); };
    const tellEvent = ({ type, lastEventId: id, data }) => {
      if (number === count) return;
      first ??= id;
      tell({ event: (number += 1), type, id, data });
      if (number < count) return;
      source.close();
      reports.then(() => resolve(first));
    };
    for (const type of ["message", "greeting"]) source.addEventListener(type, tellEvent);
    source.onopen = () => tell({ state: "open" });
    source.onerror = () => {
      tell({ state: "error" });
      if (source.readyState === EventSource.CLOSED) reports.then(() => reject(new Error("the EventSource gave up")));
    };
  });
}

async function publish({ url, topic }) {
  const body = new URLSearchParams({ topic, data: "from the page", private: "on" });
  const answer = await fetch(url, { method: "POST", body });
  return { published: answer.status, id: await answer.text() };
}

async function resume({ url, first }) {
  const answer = await fetch(url, { method: "HEAD", headers: { "Last-Event-ID": first } });
  return { cursor: answer.headers.get("Mercure-Last-Event-ID") ?? answer.headers.get("Last-Event-ID") };
}

async function ask({ url, query, first }) {
  const body = new URLSearchParams(query);
  body.append("last_event_id", first);
  const answer = await fetch(url, { method: "QUERY", body });
  const reader = answer.body.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return { query: answer.status, begins: new TextDecoder().decode(value).slice(0, 2) };
}
