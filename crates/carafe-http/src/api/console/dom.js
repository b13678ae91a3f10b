// Helpers for elements. What others have published enters the page as text only: by these functions or `textContent`.

export const $ = (id) => document.getElementById(id);

/** An element with children; strings become text. */
export function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export function button(text, onClick, className = "") {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

/** Writes only a text that differs, so that a live region is not read out again. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Has a screen reader say it. */
export function announce(text) {
  $("announcement").textContent = text;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** Copies a text, and says on the button for a moment whether that worked. */
export async function copy(text, from) {
  const outcome = (await written(text)) ? "Copied" : "Not copied";
  const label = (from.dataset.label ??= from.textContent);
  from.textContent = outcome;
  announce(outcome);
  setTimeout(() => (from.textContent = label), 1_500);
}

async function written(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedBySelection(text);
  }
}

/** A page without HTTPS has no clipboard, except on the own machine. */
function copiedBySelection(text) {
  const focused = document.activeElement;
  const field = element("textarea", "unseen");
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return copied;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat("en-CA", { dateStyle: "short" });

/** The time of day, with the day if that is another one. */
export function timeText(date) {
  const clock = `${CLOCK.format(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
  const day = DAY.format(date);
  return day === DAY.format(new Date()) ? clock : `${day} ${clock}`;
}
