// JSON, pretty-printed, with parts that open and close. Nothing is built before it is opened, and never much at once.
import { button, element, plural } from "./dom.js";

const AT_ONCE = { children: 100, characters: 20_000 };
const OPEN = { depth: 2, children: 40 };

/** A number whose text says more than the number that a browser keeps of it, such as `1.0` or a long integer. */
class Exact {
  constructor(source) {
    this.source = source;
  }
}

/** The value of an object or array in JSON; `undefined` for any other text. */
export function parsedJson(text) {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text, (_, value, context) => {
      const source = context?.source;
      return typeof value === "number" && source && source !== String(value) ? new Exact(source) : value;
    });
  } catch {
    return undefined;
  }
}

export function jsonTree(value) {
  return element("div", "json", node(null, value, "", 0));
}

/** A text that is shown in parts if it is long. */
export function longText(text, className) {
  const shown = element("span", className);
  const more = button("", showMore, "more");
  const whole = element("span", "", shown);
  showMore();
  return whole;

  function showMore() {
    const from = shown.textContent.length;
    shown.append(text.slice(from, from + AT_ONCE.characters));
    const left = text.length - shown.textContent.length;
    more.textContent = `Show more of ${plural(left, "further character")}`;
    if (left) whole.append(" ", more);
    else more.remove();
  }
}

function node(key, value, comma, depth) {
  const name = key === null ? [] : [element("span", "key", JSON.stringify(key)), ": "];
  const isBranch = typeof value === "object" && value !== null && !(value instanceof Exact);
  if (isBranch && Object.keys(value).length) return branch(name, value, comma, depth);
  return element("div", "leaf", ...name, leaf(value), comma);
}

function leaf(value) {
  if (typeof value === "string") return longText(JSON.stringify(value), "string");
  if (value instanceof Exact) return element("span", "number", value.source);
  const kind = typeof value === "number" ? "number" : "word";
  return element("span", kind, JSON.stringify(value));
}

function branch(name, value, comma, depth) {
  const [opening, closing] = Array.isArray(value) ? "[]" : "{}";
  const size = Object.keys(value).length;
  const unit = Array.isArray(value) ? plural(size, "item") : plural(size, "key");
  const folded = element("span", "folded", ` ${unit} `, closing, comma);
  const details = element("details", "", element("summary", "", ...name, opening, folded));
  const fill = () => details.childElementCount > 1 || details.append(...contents(value, closing + comma, depth));
  details.addEventListener("toggle", () => details.open && fill());
  if (depth === 0 || (depth < OPEN.depth && size <= OPEN.children)) {
    fill();
    details.open = true;
  }
  return details;
}

function contents(value, closing, depth) {
  const entries = Array.isArray(value) ? value.map((each) => [null, each]) : Object.entries(value);
  const children = element("div", "children");
  const more = button("", showMore, "more");
  let shown = 0;
  showMore();
  return [children, element("div", "closing", closing)];

  function showMore() {
    more.remove();
    const next = entries.slice(shown, shown + AT_ONCE.children);
    children.append(...next.map(([key, each], at) => node(key, each, shown + at + 1 < entries.length ? "," : "", depth + 1)));
    shown += next.length;
    more.textContent = `Show more of ${entries.length - shown}`;
    if (shown < entries.length) children.append(more);
  }
}
