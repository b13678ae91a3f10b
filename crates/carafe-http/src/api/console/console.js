// The console: one stream, what it brings, and a form to publish.
//
// Elements that tests may rely on:
//   #state            Connecting | Live | Cut | Reconnecting | Ended | Refused; its data-state is the state's name in
//                     stream.js; with #state-note, the reason, #countdown, and the button #reconnect
//   #rows             the list, newest first: li.event (data-id; in its summary: time, .topic, .type, .data; once it
//                     was opened: .panel), li.gap (history lost), li.resumed (the stream was away)
//   #filter #pause #clear #fresh #older #shown    what is listed
//   #view             the view: #view-words, and the form #choice: #topics #patterns #begin #choice-apply
//   #topic-rows       topics: .only, .rate, .subscribers, .hide
//   #publish          the form: #publish-topic #publish-type #publish-private #publish-data #publish-send, each with an
//                     error such as #publish-topic-error; its result: #answer; #publish-curl
//   #as-curl #as-javascript   the view for other clients
//   #demo             #count #received #doubles #holes #gaps #verdict #last-event-id #cut
import { $, announce } from "./dom.js";
import { showCode, startCode } from "./code.js";
import { cutDemo, reconnectDemo, startDemo, stopDemo } from "./demo.js";
import { Filter } from "./filter.js";
import { EventList } from "./list.js";
import { startPublishing } from "./publish.js";
import { showState } from "./status.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";
import { Topics } from "./topics.js";
import { addressOfView, ownAddress, viewOfAddress, wordsOfBegin, wordsOfView } from "./view.js";

let view = viewOfAddress();
let search = location.search;
let awaySince = null;

const store = new Store();
const list = new EventList(store, toggleFilter);
const topics = new Topics(toggleFilter);
const stream = new Stream({
  address: (lastEventId) => ownAddress(view, lastEventId),
  onState,
  onEvents,
});

// ---- The view

function startAfresh() {
  view = viewOfAddress();
  search = location.search;
  awaySince = null;
  showView();
  topics.reset();
  list.reset();
  applyFilter();
  stream.start();
}

function showView() {
  $("topics").value = view.topics.join("\n");
  $("patterns").value = view.patterns.join("\n");
  offerBegin(view.begin);
  $("begin").value = view.begin;
  $("filter").value = view.filter;
  $("view-words").textContent = wordsOfView(view);
}

/** A shared address may ask for another number of events than the form offers. */
function offerBegin(begin) {
  if ([...$("begin").options].some((option) => option.value === begin)) return;
  $("begin").add(new Option(wordsOfBegin(begin), begin));
}

function choose(event) {
  event.preventDefault();
  const chosen = { topics: linesOf("topics"), patterns: linesOf("patterns"), begin: $("begin").value };
  history.pushState(null, "", addressOfView({ ...chosen, filter: $("filter").value.trim() }));
  $("view").open = false;
  startAfresh();
}

function linesOf(id) {
  return $(id).value.split("\n").map((line) => line.trim()).filter(Boolean);
}

function toggleFilter(field, value, excludes) {
  $("filter").value = new Filter($("filter").value).toggled(field, value, excludes);
  filterChanged();
}

function filterChanged() {
  view.filter = $("filter").value.trim();
  history.replaceState(null, "", addressOfView(view));
  search = location.search;
  applyFilter();
}

function applyFilter() {
  list.filterBy(view.filter);
  topics.filterBy(new Filter(view.filter));
  showCode(view);
}

// ---- The stream

function onState(state) {
  if (state.name === "live") {
    if (awaySince !== null) tellResumed();
    awaySince = null;
  } else if (state.name !== "connecting") {
    awaySince ??= performance.now();
  }
  showState(state);
}

function onEvents(events) {
  for (const { type, data } of events) {
    if (type === "message") onEvent(JSON.parse(data));
    else if (type === "carafe.gap") onGap(JSON.parse(data));
  }
  list.grown(events.filter(({ type }) => type === "message").length);
}

function onEvent({ topic, alternates = [], id, time, type, data }) {
  const event = { topics: [topic, ...alternates], id, time, type, data };
  topics.count(event);
  store.add(event);
}

function onGap(gap) {
  const text = gapText(gap);
  addNote("gap", text);
  announce(text);
}

function gapText({ requested, oldest, reason }) {
  const reasons = {
    foreign: `this server does not know the event ID ${requested}; it may have been restarted`,
    lost: `this server has lost the events up to ${requested}; it may have been restored from a backup`,
  };
  const lost = reasons[reason] ?? `the events right after ${requested} are no longer kept`;
  if (reason === "lost") return `History lost: ${lost}. The list continues with what is known to come after.`;
  if (reason === "erased") return `Events right after ${requested} were erased. The list continues after them.`;
  const next = oldest ? `The list continues with the oldest event kept, ${oldest}` : "Nothing is kept from before";
  return `History lost: ${lost}. ${next}.`;
}

function tellResumed() {
  const seconds = ((performance.now() - awaySince) / 1_000).toFixed(1);
  const from = stream.lastEventId ? `after ${stream.lastEventId}` : "with what is new";
  addNote("resumed", `Reconnected after ${seconds} s. The stream continues ${from}.`);
  list.grown(0);
}

function addNote(note, text) {
  store.add({ note, data: text, topics: [] });
}

function reconnect() {
  stream.reconnect();
  reconnectDemo();
}

// ---- The beginning

function sendOnControlEnter(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
}

for (const form of ["publish", "choice"]) $(form).addEventListener("keydown", sendOnControlEnter);
$("choice").addEventListener("submit", choose);
$("filter").addEventListener("input", filterChanged);
$("unfilter").addEventListener("click", () => {
  $("filter").value = "";
  filterChanged();
  $("filter").focus();
});
$("cut").addEventListener("click", () => {
  stream.cut();
  cutDemo();
});
$("reconnect").addEventListener("click", reconnect);
// A link within the page, such as the one that skips to the events, is no other view.
window.addEventListener("popstate", () => location.search !== search && startAfresh());
window.addEventListener("pagehide", () => {
  stream.stop();
  stopDemo();
});
window.addEventListener("pageshow", (event) => event.persisted && reconnect());
startPublishing();
startCode();
startAfresh();
startDemo();
