// Reads COUNT ordinary events from URL with the npm package `eventsource`, which reconnects by
// itself, and prints one line of JSON for each, and for each of the hub's own events among them.
import { EventSource } from "eventsource";

const OWN = ["carafe.position", "carafe.gap", "carafe.end", "carafe.expired"];
const LIMIT_MS = 60_000;

const [url, count] = process.argv.slice(2);
if (!url || !(Number(count) > 0)) fail("usage: eventsource.mjs URL COUNT", 2);

let left = Number(count);
setTimeout(() => fail(`${left} events had not come after ${LIMIT_MS / 1000} s`), LIMIT_MS);

const source = new EventSource(url);
for (const type of ["message", ...OWN]) source.addEventListener(type, show);
source.addEventListener("error", ({ code, message }) => {
  if (source.readyState === EventSource.CLOSED) fail(`refused: ${code} ${message}`);
});

function show({ type, lastEventId, data }) {
  console.log(JSON.stringify({ type, id: lastEventId, data }));
  if (!OWN.includes(type) && --left === 0) process.exit(0);
}

function fail(reason, status = 1) {
  console.error(`eventsource.mjs: ${reason}`);
  process.exit(status);
}
