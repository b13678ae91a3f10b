// decoders.mjs
//
// Decodes streams with the EventSource of Chromium and with the decoder of carafe-client. Each line of standard input is
// a JSON array of chunks in base64; each line of the output is {"native":[event…],"own":{"events":[…],"id":…,"retry":…}}.
import { once } from "node:events";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Decoder } from "../../clients/js/src/decoder.js";
import { print, withBrowser } from "./chromium.mjs";

/** As many connections as Chromium opens to one origin. */
const AT_ONCE = 6;
const BATCH = 500;

await withBrowser(async (browser) => {
  const streams = [];
  for await (const line of createInterface({ input: process.stdin })) {
    streams.push(JSON.parse(line).map((chunk) => Buffer.from(chunk, "base64")));
  }
  const page = await browser.newPage();
  await page.goto(await serve(streams));
  for (let from = 0; from < streams.length; from += BATCH) {
    const owns = streams.slice(from, from + BATCH).map(decode);
    const wanted = owns.map(({ events }, at) => ({ url: `/${from + at}`, types: events.map(({ type }) => type) }));
    const natives = await page.evaluate(readAll, { wanted, atOnce: AT_ONCE });
    owns.forEach((own, at) => print({ native: natives[at], own }));
  }
});

function decode(chunks) {
  const decoder = new Decoder();
  const events = chunks.flatMap((chunk) => decoder.push(chunk));
  return { events, id: decoder.id, retry: decoder.retry ?? null };
}

/** Gives each stream at its number, and a blank page elsewhere. */
async function serve(streams) {
  const server = createServer(({ url }, response) => {
    const stream = streams[url.slice(1) || -1];
    response.writeHead(200, { "content-type": stream ? "text/event-stream" : "text/html" });
    response.end(stream ? Buffer.concat(stream) : "<!doctype html>");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${server.address().port}/`;
}

/** Runs in the page. An EventSource shows events of the types that are listened for. */
async function readAll({ wanted, atOnce }) {
  const all = [];
  const read = ({ url, types }) => new Promise((resolve) => {
    const events = [];
    const source = new EventSource(url);
    const note = ({ type, data, lastEventId: id }) => events.push({ type, data, id });
    for (const type of new Set(["message", "c", ...types])) source.addEventListener(type, note);
    source.onerror = () => {
      source.close();
      resolve(events);
    };
  });
  let next = 0;
  const work = async () => {
    for (let at; (at = next++) < wanted.length;) all[at] = await read(wanted[at]);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return all;
}
