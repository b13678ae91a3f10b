// One row of the list: an event that opens, or a note about the stream.
import { button, copy, element, timeText } from "./dom.js";
import { jsonTree, longText, parsedJson } from "./json.js";

const PREVIEW = 400;

/** `onFilter(field, value, excludes)` is called by the buttons of an event that is open. */
export function rowOf(entry, onFilter) {
  return entry.note ? noteRow(entry) : eventRow(entry, onFilter);
}

function noteRow({ note, data, number }) {
  const row = element("li", note, data);
  row.number = number;
  return row;
}

function eventRow(event, onFilter) {
  const row = element("li", "event");
  const details = element("details", "", summary(event));
  row.number = event.number;
  row.dataset.id = event.id;
  row.append(details);
  const fill = () => details.childElementCount > 1 || details.append(panel(event, onFilter));
  if (event.isOpen) {
    fill();
    details.open = true;
  }
  details.addEventListener("toggle", () => {
    event.isOpen = details.open;
    if (details.open) fill();
  });
  return row;
}

function summary({ topics, type, time, data }) {
  const made = element("summary", "", timeOf(time), element("span", "topic", topics[0]));
  made.append(element("span", "type", type ?? ""), element("span", "data", preview(data)));
  // One stop for the Tab key in the whole list; the arrow keys lead on from there.
  made.tabIndex = -1;
  return made;
}

function timeOf(time) {
  const made = element("time", "", timeText(new Date(time)));
  made.dateTime = time;
  return made;
}

/** One line. A browser has to lay out what it cuts off, too, so this is short. */
function preview(data) {
  const text = data.slice(0, PREVIEW).replace(/\s*[\r\n]\s*/g, " ⏎ ");
  return data.length > PREVIEW ? `${text} …` : text;
}

function panel(event, onFilter) {
  const value = parsedJson(event.data);
  const body = value === undefined ? element("pre", "text", longText(event.data, "")) : jsonTree(value);
  return element("div", "panel", body, facts(event), actions(event, onFilter));
}

function facts({ id, time, topics, data }) {
  const list = element("dl", "facts");
  const add = (name, text) => list.append(element("div", "", element("dt", "", name), element("dd", "", text)));
  add("ID", element("code", "id", id));
  add("Time", time);
  if (topics.length > 1) add("Other topics", topics.slice(1).join(", "));
  add("Size", `${new TextEncoder().encode(data).length.toLocaleString("en")} bytes`);
  return list;
}

function actions(event, onFilter) {
  const { topics: [topic], type } = event;
  const named = type ? "this type" : "events without a type";
  return element("p", "actions",
    button("Copy data", ({ currentTarget }) => copy(event.data, currentTarget)),
    button("Copy event", ({ currentTarget }) => copy(asJson(event), currentTarget)),
    button("Only this topic", () => onFilter("topic", topic, false)),
    button("Hide this topic", () => onFilter("topic", topic, true)),
    button(`Only ${named}`, () => onFilter("type", type ?? "", false)),
    button(`Hide ${named}`, () => onFilter("type", type ?? "", true)));
}

function asJson({ topics: [topic, ...alternates], id, time, type, data }) {
  return JSON.stringify({ topic, ...(alternates.length && { alternates }), id, time, type, data }, null, 2);
}
