// The demonstration: a counter whose numbers follow each other, so that a missing or repeated event shows.
import { $, setText } from "./dom.js";
import { Stream } from "./stream.js";
import { counterAddress } from "./view.js";

const REMEMBERED = 10_000;

const tally = { received: 0, doubles: 0, holes: 0, gaps: 0 };
const seen = new Set();
let newest = null;

const stream = new Stream({ address: counterAddress, onState, onEvents });
let isOpen = false;

/** Counts while the demonstration is shown. */
export function startDemo() {
  $("demo").addEventListener("toggle", follow);
  document.addEventListener("visibilitychange", rest);
  $("demo").open = true;
  follow();
}

export function cutDemo() {
  if (isOpen) stream.cut();
}

export function reconnectDemo() {
  if (isOpen) stream.reconnect();
}

export function stopDemo() {
  stream.stop();
}

/** Between two openings, ticks are left out rightly. */
function follow() {
  if ($("demo").open === isOpen) return;
  isOpen = $("demo").open;
  newest = null;
  seen.clear();
  if (isOpen) stream.start();
  else stream.stop();
}

/** Over HTTP/1.1, all tabs share six connections to a server, and one in the background needs no counter. */
function rest() {
  if (document.hidden) stream.stop();
  else reconnectDemo();
}

/** Only `carafe dev` has a counter. */
function onState({ name, until }) {
  $("demo").hidden = name === "refused" && until === null;
}

function onEvents(events) {
  for (const { type, data } of events) {
    if (type === "message") countTick(JSON.parse(data));
    else if (type === "carafe.gap") countGap();
  }
  $("last-event-id").textContent = stream.lastEventId || "none yet";
}

function countTick({ id, data }) {
  $("count").textContent = data.slice(0, 16);
  $("count").dataset.long = String(data.length > 4);
  if (/^\d{1,15}$/.test(data)) judge(id, Number(data));
  showTally();
}

function countGap() {
  tally.gaps += 1;
  newest = null;
  showTally();
}

function judge(id, number) {
  tally.received += 1;
  if (seen.has(id)) {
    tally.doubles += 1;
    return;
  }
  // A smaller number under a new ID is no double: the server was started again, and counts from 1.
  if (newest !== null) tally.holes += Math.max(0, number - newest - 1);
  newest = number;
  remember(id);
  pour(number);
}

function remember(id) {
  seen.add(id);
  if (seen.size > REMEMBERED) seen.delete(seen.values().next().value);
}

function showTally() {
  for (const [name, number] of Object.entries(tally)) {
    $(name).textContent = number.toLocaleString("en");
    $(name).dataset.some = String(number > 0);
  }
  setText($("verdict"), verdict());
}

function verdict() {
  if (tally.holes) return "Events are missing.";
  if (tally.doubles) return "Events came twice.";
  return tally.gaps ? "History was lost, and reported." : "Nothing missing, nothing twice.";
}

/** The drawing: a minute of ticks fills the carafe. */
function pour(number) {
  $("coffee").setAttribute("y", String(90 - (number % 60 || 60) * 0.6));
}
