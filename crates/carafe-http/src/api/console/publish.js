// The form to publish. What the server says is wrong appears beside the field that it is about.
import { $, copy, element } from "./dom.js";
import { problemOf } from "./problem.js";
import { quoted } from "./code.js";

const FIELDS = ["publish-topic", "publish-type", "publish-data"];
const FIELD_OF_PROBLEM = {
  "bad-topic": "publish-topic",
  "no-topic": "publish-topic",
  "bad-event-type": "publish-type",
  "too-large": "publish-data",
};

export function startPublishing() {
  $("publish").addEventListener("submit", publish);
  $("publish-curl").addEventListener("click", ({ currentTarget }) => copy(asCurl(), currentTarget));
  for (const id of FIELDS) $(id).addEventListener("input", () => setError(id, ""));
}

async function publish(event) {
  event.preventDefault();
  for (const id of FIELDS) setError(id, "");
  answer("", "");
  try {
    const response = await fetch(address(), { method: "POST", body: $("publish-data").value });
    if (!response.ok) return showProblem(await problemOf(response));
    answer("done", "Published as ", element("code", "", (await response.json()).id));
  } catch {
    answer("problem", "Not published: the server does not answer.");
  }
}

function showProblem({ name, detail, text }) {
  const field = FIELD_OF_PROBLEM[name];
  if (!field) return answer("problem", text);
  setError(field, detail ?? text);
  answer("problem", "Not published.");
  $(field).focus();
}

function setError(id, text) {
  const [field, error] = [$(id), $(`${id}-error`)];
  error.textContent = text;
  if (text) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

/** Slashes are escaped, too, or the browser would fold a topic such as `a/../b` before the server could refuse it. */
function address() {
  const [type, isPrivate] = [$("publish-type").value, $("publish-private").checked];
  const query = [type && new URLSearchParams({ event: type }), isPrivate && "private"].filter(Boolean).join("&");
  return `events/${encodeURIComponent($("publish-topic").value)}${query && `?${query}`}`;
}

function asCurl() {
  // An `@` at the beginning would be the name of a file.
  const flag = $("publish-data").value.startsWith("@") ? "--data-raw" : "-d";
  return `curl ${flag} ${quoted($("publish-data").value)} ${quoted(new URL(address(), document.baseURI).href)}`;
}

function answer(kind, ...parts) {
  $("answer").className = kind;
  $("answer").replaceChildren(...parts);
}
