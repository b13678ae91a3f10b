// The npm package `eventsource`, which reconnects by itself.
import { EventSource } from "eventsource";
import { OWN, fail, show, url } from "./reader.mjs";

const source = new EventSource(url);
for (const type of ["message", ...OWN]) {
  source.addEventListener(type, ({ type, lastEventId, data }) => show({ type, id: lastEventId, data }));
}
source.addEventListener("error", ({ code, message }) => {
  if (source.readyState === EventSource.CLOSED) fail(`refused: ${code} ${message}`);
});
