// The clients, each as a function that resolves when it has seen all events of a URL.
import { createParser } from "eventsource-parser";
import { EventSource as Npm } from "eventsource";
import { Decoder } from "../../../clients/js/src/decoder.js";
import { EventSource, subscribe } from "../../../clients/js/src/index.js";

const seeAll = (Class) => (url, events) => new Promise((resolve) => {
  const source = new Class(url);
  let left = events;
  source.onmessage = () => {
    if (--left) return;
    source.close();
    resolve();
  };
});

async function iterate(url, events) {
  let left = events;
  for await (const _ of subscribe(url)) if (!--left) return;
}

/** A parser alone: `parse` returns how many events it has found in a chunk. */
const feedAll = (createParse) => async (url, events) => {
  const controller = new AbortController();
  const { body } = await fetch(url, { signal: controller.signal });
  const parse = createParse();
  let left = events;
  for await (const chunk of body) if (!(left -= parse(chunk))) break;
  controller.abort();
};

function ownDecoder() {
  const decoder = new Decoder();
  return (chunk) => decoder.push(chunk).length;
}

/** As its documentation says. */
function eventsourceParser() {
  let found;
  const parser = createParser({ onEvent: () => { found++; } });
  const utf8 = new TextDecoder();
  return (chunk) => {
    found = 0;
    parser.feed(utf8.decode(chunk, { stream: true }));
    return found;
  };
}

/** It is written for browsers: a window and a document are what it needs of one. */
async function fetchEventSource(url, events) {
  globalThis.window ??= globalThis;
  globalThis.document ??= { hidden: false, addEventListener() {}, removeEventListener() {} };
  const { fetchEventSource } = await import("@microsoft/fetch-event-source/lib/esm/index.js").catch(() => import("@microsoft/fetch-event-source"));
  const controller = new AbortController();
  let left = events;
  await fetchEventSource(url, {
    signal: controller.signal,
    openWhenHidden: true,
    onmessage() { if (!--left) controller.abort(); },
  });
  delete globalThis.document;
}

export const READERS = {
  "carafe-client, subscribe": iterate,
  "carafe-client, EventSource": seeAll(EventSource),
  "carafe-client/decoder": feedAll(ownDecoder),
  "eventsource-parser": feedAll(eventsourceParser),
  eventsource: seeAll(Npm),
  "fetch-event-source": fetchEventSource,
};
