// The console: one EventSource, what it brings, and a form to publish.
//
// Ids that tests may rely on:
//   #state            Connecting | Live | Reconnecting | Ended; the same in lower case in its data-state
//   #state-note       one sentence on that state, or nothing
//   #content, #count  the data of the newest event of topic `count`
//   #last-event-id    where the stream would be resumed
//   #received #doubles #holes #gaps   the tally; in words: #verdict
//   #cut, #reconnect  buttons; #reconnect stands in the place of #cut while reconnecting or ended
//   #publish          the form: #publish-topic #publish-type #publish-data #publish-send; its result: #answer
//   #choice           the form: #topics #patterns #begin #choice-apply, inside #choice-details; in words: #chosen
//   #events           the table; its rows, newest first, in #rows: tr.event (data-id, cells .time .topic .type .data
//                     .id), tr.gap (history lost) and tr.resumed (the stream was away)
//   #pause, #shown    holds the list still; says how many rows there are

const ROWS_KEPT = 200;
const TICKS_REMEMBERED = 10_000;
const CUT_MS = 3_000;
const FIRST_RETRY_MS = 3_000;
const LONGEST_RETRY_MS = 30_000;
const SHOWN_CHARACTERS = 1_000;
const SHOWN_LINES = 20;
const TRIES_AGAIN = "This page tries again from time to time.";
const STATES = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", ended: "Ended" };

const $ = (id) => document.getElementById(id);

// ---- The choice: the page's query has the names and the meaning of the stream's query.

function readChoice() {
  const query = new URLSearchParams(location.search);
  const begin = query.has("earliest") ? "earliest" : query.has("last") ? `last=${query.get("last")}` : "";
  return { topics: query.getAll("topic"), patterns: query.getAll("pattern"), begin };
}

function matchersQuery({ topics, patterns }) {
  return new URLSearchParams([...topics.map((t) => ["topic", t]), ...patterns.map((p) => ["pattern", p])]);
}

function pageAddress(choice) {
  const query = [matchersQuery(choice).toString(), choice.begin].filter(Boolean).join("&");
  return query ? `?${query}` : location.pathname;
}

function streamAddress() {
  const query = matchersQuery(choice);
  query.set("envelope", "json");
  if (lastEventId) query.set("last_event_id", lastEventId);
  const begin = lastEventId || !choice.begin ? "" : `&${choice.begin}`;
  return `events?${query}${begin}`;
}

function linesOf(id) {
  return $(id).value.split("\n").map((line) => line.trim()).filter(Boolean);
}

function showChoice() {
  $("topics").value = choice.topics.join("\n");
  $("patterns").value = choice.patterns.join("\n");
  offerBegin(choice.begin);
  $("begin").value = choice.begin;
  $("chosen").textContent = [...choice.topics, ...choice.patterns].join(", ") || "every topic";
}

/** A shared link may ask for another number of events than the form offers. */
function offerBegin(begin) {
  if ([...$("begin").options].some((option) => option.value === begin)) return;
  $("begin").add(new Option(`the last ${begin.slice("last=".length)} events`, begin));
}

function choose(event) {
  event.preventDefault();
  const chosen = { topics: linesOf("topics"), patterns: linesOf("patterns"), begin: $("begin").value };
  history.pushState(null, "", pageAddress(chosen));
  startAfresh();
}

function startAfresh() {
  choice = readChoice();
  showChoice();
  clearList();
  resetTicks();
  setLastEventId("");
  awaySince = null;
  setState("connecting");
  open();
}

// ---- The stream

let choice = readChoice();
let source = null;
let timer = 0;
let retries = 0;
let lastEventId = "";
let awaySince = null;

function open() {
  close();
  source = new EventSource(streamAddress());
  source.onopen = onOpen;
  source.onerror = onError;
  source.onmessage = onEvent;
  source.addEventListener("carafe.position", (event) => setLastEventId(event.lastEventId));
  source.addEventListener("carafe.gap", onGap);
}

function close() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

function onOpen() {
  retries = 0;
  setState("live");
  if (awaySince !== null) tellResumed();
  awaySince = null;
}

function onError() {
  awaySince ??= performance.now();
  if (source.readyState === EventSource.CLOSED) return onEnded();
  setState("reconnecting", "The browser is trying again by itself.");
}

/** A browser gives up for good after any answer but a 200, so the page tries again in its place. */
function onEnded() {
  if (stateNow() !== "ended") {
    setState("ended", `The server ended the stream. ${TRIES_AGAIN}`);
    explainEnd();
  }
  const wait = Math.min(FIRST_RETRY_MS * 2 ** retries++, LONGEST_RETRY_MS);
  reopenAfter(wait * (1 + Math.random() / 4));
}

/** EventSource hides why it was refused; the same request by fetch shows the problem document. */
async function explainEnd() {
  const abort = new AbortController();
  try {
    const response = await fetch(streamAddress(), { signal: abort.signal });
    const reason = response.ok ? "" : await problemOf(response);
    if (reason && stateNow() === "ended") setState("ended", `${reason.replace(/\.?$/, ".")} ${TRIES_AGAIN}`);
  } catch {
    // No answer at all: the sentence that stands there says enough.
  } finally {
    abort.abort();
  }
}

function reopenAfter(wait) {
  close();
  timer = setTimeout(open, wait);
}

function reconnect() {
  setState("reconnecting");
  open();
}

function cut() {
  awaySince ??= performance.now();
  setState("reconnecting", "Cut by you, back in three seconds.");
  reopenAfter(CUT_MS);
}

function setState(state, note = "") {
  document.documentElement.dataset.state = state;
  $("state").dataset.state = state;
  setText("state", STATES[state]);
  setText("state-note", note);
  offerOnly(state === "reconnecting" || state === "ended" ? "reconnect" : "cut");
}

/** One of the two buttons stands in the place of the other, and takes the keyboard's focus over with it. */
function offerOnly(wanted) {
  const other = wanted === "cut" ? "reconnect" : "cut";
  const hadFocus = document.activeElement === $(other);
  $(wanted).hidden = false;
  $(other).hidden = true;
  if (hadFocus) $(wanted).focus();
}

function stateNow() {
  return $("state").dataset.state;
}

function setLastEventId(id) {
  lastEventId = id;
  $("last-event-id").textContent = id || "none yet";
}

/** Writes only what differs, so that a live region is not read out again. */
function setText(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

// ---- What arrives

function onEvent(event) {
  setLastEventId(event.lastEventId);
  const envelope = JSON.parse(event.data);
  received += 1;
  if (envelope.topic === "count") onCount(envelope);
  addRow(eventRow(envelope));
}

function onGap(event) {
  setLastEventId(event.lastEventId);
  const text = gapText(JSON.parse(event.data));
  ticks.gaps += 1;
  ticks.newest = null;
  showTally();
  addRow(noteRow("gap", text));
  $("announcement").textContent = text;
}

function gapText({ requested, oldest, reason }) {
  const reasons = {
    foreign: `this server does not know the event ID ${requested}; it may have been restarted`,
    lost: `this server has lost the events up to ${requested}; it may have been restored from a backup`,
  };
  const lost = reasons[reason] ?? `the events right after ${requested} are no longer kept`;
  if (reason === "lost") return `History lost: ${lost}. The list goes on with what is known to come after.`;
  const goesOn = oldest ? `The list goes on with the oldest event kept, ${oldest}` : "Nothing is kept from before";
  return `History lost: ${lost}. ${goesOn}.`;
}

function tellResumed() {
  const seconds = ((performance.now() - awaySince) / 1000).toFixed(1);
  addRow(noteRow("resumed", `Reconnected after ${seconds} s, asking for what came after ${lastEventId || "the beginning"}.`));
}

// ---- Topic `count`: every number is one more than the one before, so a hole or a double shows.

const ticks = { received: 0, doubles: 0, holes: 0, gaps: 0, newest: null, seen: new Set() };

function onCount({ id, data }) {
  $("count").textContent = shorten(data);
  $("content").dataset.long = String(data.length > 4);
  if (/^\d{1,15}$/.test(data)) judgeTick(id, Number(data));
  showTally();
}

function judgeTick(id, number) {
  ticks.received += 1;
  if (ticks.seen.has(id)) {
    ticks.doubles += 1;
    return;
  }
  // A smaller number under a new ID is no double: the server has been started again and counts from 1.
  if (ticks.newest !== null) ticks.holes += Math.max(0, number - ticks.newest - 1);
  ticks.newest = number;
  remember(id);
  pour(number);
}

function remember(id) {
  ticks.seen.add(id);
  if (ticks.seen.size > TICKS_REMEMBERED) ticks.seen.delete(ticks.seen.values().next().value);
}

/** Another choice of topics leaves ticks out, or brings some again, rightly. */
function resetTicks() {
  ticks.newest = null;
  ticks.seen.clear();
  $("count").textContent = "–";
}

function showTally() {
  for (const name of ["received", "doubles", "holes", "gaps"]) {
    $(name).textContent = ticks[name].toLocaleString("en");
    $(name).dataset.some = String(ticks[name] > 0);
  }
  setText("verdict", verdict());
}

function verdict() {
  if (ticks.holes) return "Events are missing";
  if (ticks.doubles) return "Events came twice";
  return ticks.gaps ? "History was lost, and told" : "Nothing missed, nothing twice";
}

/** The drawing: a minute of ticks fills the carafe. */
function pour(number) {
  $("coffee").setAttribute("y", String(90 - (number % 60 || 60) * 0.6));
}

// ---- The list. Rows wait for the next frame, or for the end of a pause; never more of them than would be shown.

let received = 0;
let waiting = [];
let frame = 0;

function addRow(row) {
  waiting.push(row);
  if (waiting.length > ROWS_KEPT) waiting.shift();
  frame ||= requestAnimationFrame(showRows);
}

function showRows() {
  frame = 0;
  if (!isPaused()) {
    $("rows").prepend(...waiting.reverse());
    waiting = [];
    while ($("rows").childElementCount > ROWS_KEPT) $("rows").lastElementChild.remove();
  }
  showListNote();
}

function showListNote() {
  const events = received === 1 ? "1 event" : `${received.toLocaleString("en")} events`;
  const held = isPaused() ? ` Paused; ${waiting.length} of the newest wait.` : "";
  $("shown").textContent = `${events} received; the list keeps the newest ${ROWS_KEPT} rows.${held}`;
  $("empty").hidden = $("rows").childElementCount > 0;
}

function clearList() {
  received = 0;
  waiting = [];
  $("rows").replaceChildren();
  showListNote();
}

function isPaused() {
  return $("pause").getAttribute("aria-pressed") === "true";
}

function togglePause() {
  $("pause").setAttribute("aria-pressed", String(!isPaused()));
  showRows();
}

function eventRow({ topic, type, id, time, data }) {
  const row = element("tr", "event");
  row.dataset.id = id;
  row.append(timeCell(time), cell("topic", topic), cell("type", type ?? ""), cell("data", shorten(data)), cell("id", id));
  return row;
}

function noteRow(kind, text) {
  const row = element("tr", kind);
  const only = cell("note", text);
  only.colSpan = 5;
  row.append(only);
  return row;
}

function timeCell(time) {
  const stamp = document.createElement("time");
  stamp.dateTime = time;
  stamp.textContent = timeText(new Date(time));
  const only = cell("time", "");
  only.append(stamp);
  return only;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat("en-CA", { dateStyle: "short" });

function timeText(date) {
  const clock = `${CLOCK.format(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  const day = DAY.format(date);
  return day === DAY.format(new Date()) ? clock : `${day} ${clock}`;
}

/** What others published enters the page here, and only as text. */
function cell(name, text) {
  const made = element("td", name);
  made.textContent = text;
  return made;
}

function element(tag, name) {
  const made = document.createElement(tag);
  made.className = name;
  made.setAttribute("role", tag === "tr" ? "row" : "cell");
  return made;
}

function shorten(text) {
  const lines = text.split("\n", SHOWN_LINES + 1).slice(0, SHOWN_LINES).join("\n");
  const shown = lines.slice(0, SHOWN_CHARACTERS);
  return shown.length === text.length ? text : `${shown} … (${text.length.toLocaleString("en")} characters in all)`;
}

// ---- Publishing

async function publish(event) {
  event.preventDefault();
  try {
    const response = await fetch(publishAddress(), { method: "POST", body: $("publish-data").value });
    if (!response.ok) return answer("problem", await problemOf(response));
    answer("done", `Published as ${(await response.json()).id}`);
  } catch (error) {
    answer("problem", `Not published: ${error.message}`);
  }
}

/** Slashes are escaped too, or the browser would fold a topic such as `a/../b` before the server could refuse it. */
function publishAddress() {
  const type = $("publish-type").value;
  const query = type ? `?${new URLSearchParams({ event: type })}` : "";
  return `events/${encodeURIComponent($("publish-topic").value)}${query}`;
}

async function problemOf(response) {
  const isProblem = response.headers.get("content-type")?.startsWith("application/problem+json");
  const { title, detail } = isProblem ? await response.json() : {};
  return [`${response.status} ${title ?? response.statusText}`.trim(), detail].filter(Boolean).join(": ");
}

function answer(kind, text) {
  $("answer").className = kind;
  $("answer").textContent = text;
}

function sendOnControlEnter(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
}

// ---- The beginning

for (const [form, submit] of [["publish", publish], ["choice", choose]]) {
  $(form).addEventListener("submit", submit);
  $(form).addEventListener("keydown", sendOnControlEnter);
}
$("cut").addEventListener("click", cut);
$("reconnect").addEventListener("click", reconnect);
$("pause").addEventListener("click", togglePause);
window.addEventListener("popstate", startAfresh);
window.addEventListener("pagehide", close);
window.addEventListener("pageshow", (event) => event.persisted && reconnect());
$("choice-details").open = matchMedia("(min-width: 48rem)").matches;
startAfresh();
