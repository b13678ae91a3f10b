// The current view, as a command and as a script.
import { $, copy } from "./dom.js";
import { streamAddress } from "./view.js";

export function startCode() {
  for (const id of ["curl", "javascript"]) {
    $(`copy-${id}`).addEventListener("click", ({ currentTarget }) => copy($(`as-${id}`).textContent, currentTarget));
  }
}

export function showCode(view) {
  $("as-curl").textContent = `curl -N ${quoted(streamAddress(view))}`;
  $("as-javascript").textContent = asJavaScript(streamAddress(view, { envelope: "json" }));
  const example = exampleTopic(view);
  $("hint").hidden = !example;
  if (example) $("hint-curl").textContent = `curl -d 'one flat white' ${quoted(topicAddress(example))}`;
  $("code-filter").hidden = !view.filter;
}

/** A topic that the view reads, if one is easily told. */
function exampleTopic({ topics: [topic], patterns: [pattern] }) {
  if (topic || !pattern) return topic ?? "orders/42";
  return /[\\{}()?+]/.test(pattern) ? null : pattern.replace(/\*|:\w+/g, "42");
}

function topicAddress(topic) {
  return new URL(`events/${topic.split("/").map(encodeURIComponent).join("/")}`, document.baseURI).href;
}

/** A word of a POSIX shell. */
export function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function asJavaScript(address) {
  return [
    `const events = new EventSource(${JSON.stringify(address)});`,
    "events.onmessage = (message) => {",
    "  const { id, topic, type, data } = JSON.parse(message.data);",
    "  console.log(id, topic, type, data);",
    "};",
    'events.addEventListener("carafe.gap", ({ data }) => {',
    '  console.warn("history lost", JSON.parse(data));',
    "});",
  ].join("\n");
}
