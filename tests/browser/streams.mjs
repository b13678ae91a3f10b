// streams.mjs BASE_URL COUNT
//
// One tab with COUNT streams on one origin, whose certificate nobody needs to trust. When all stand, an event is
// published to the topic of each; prints {"streams":COUNT,"protocols":[…]} when each has its own and no other.
import { check, print, run, until } from "./chromium.mjs";

await run("streams.mjs BASE_URL COUNT", async (browser, base, [count]) => {
  check(Number(count) > 0, "a COUNT above 0 is needed");
  const page = await browser.newPage({ ignoreHTTPSErrors: true });
  await page.goto(base);
  await page.evaluate(open, Number(count));
  await until("all streams to stand", () => page.evaluate(() => window.streams.every(({ stands }) => stands)));
  const statuses = await page.evaluate(publish);
  check(statuses.every((status) => status === 201), { statuses });
  await until("an event on each stream", () => page.evaluate(() => window.streams.every(({ seen }) => seen.length)));
  const streams = await page.evaluate(() => window.streams.map(({ seen }) => seen));
  streams.forEach((seen, number) => check(seen.join() === `event ${number}`, { number, seen }));
  print({ streams: streams.length, protocols: await page.evaluate(protocols) });
});

/** Runs in the page. */
function open(count) {
  window.streams = Array.from({ length: count }, (_, number) => {
    const stream = { source: new EventSource(`events/tab/${number}`), stands: false, seen: [] };
    stream.source.addEventListener("carafe.position", () => { stream.stands = true; });
    stream.source.onmessage = ({ data }) => stream.seen.push(data);
    return stream;
  });
}

/** Runs in the page. */
function publish() {
  return Promise.all(window.streams.map(async (_, number) => {
    const answer = await fetch(`events/tab/${number}`, { method: "POST", body: `event ${number}` });
    return answer.status;
  }));
}

/** Runs in the page. Streams that stand have no entry yet; they share the connection with the others. */
function protocols() {
  const entries = performance.getEntriesByType("navigation").concat(performance.getEntriesByType("resource"));
  return [...new Set(entries.map(({ nextHopProtocol }) => nextHopProtocol))];
}
