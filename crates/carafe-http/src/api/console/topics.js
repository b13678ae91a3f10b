// The topics that events came from: how many a second, and how many streams request them, this page's included.
import { $, button, element, plural, setText } from "./dom.js";

const SECONDS = 10;
const REMEMBERED = 1_000;
const SHOWN = 30;

export class Topics {
  #onFilter;
  #filter;
  /** The least recent first. */
  #topics = new Map();
  #rows = new Map();
  #since = performance.now();

  constructor(onFilter) {
    this.#onFilter = onFilter;
    setInterval(() => this.#second(), 1_000);
    setInterval(() => this.#askForSubscribers(), 2_000);
  }

  count({ topics }) {
    for (const name of topics) {
      const topic = this.#topics.get(name) ?? { total: 0, seconds: Array(SECONDS).fill(0) };
      topic.total += 1;
      topic.seconds[0] += 1;
      // Moved to the end.
      this.#topics.delete(name);
      this.#topics.set(name, topic);
    }
    while (this.#topics.size > REMEMBERED) this.#topics.delete(this.#topics.keys().next().value);
  }

  filterBy(filter) {
    this.#filter = filter;
    for (const [name, row] of this.#rows) this.#press(name, row);
  }

  reset() {
    this.#topics.clear();
    this.#since = performance.now();
    this.#show();
  }

  #second() {
    if (!document.hidden) this.#show();
    for (const { seconds } of this.#topics.values()) {
      seconds.pop();
      seconds.unshift(0);
    }
  }

  /** The busiest, in the order of the alphabet: rows that change places every second cannot be read. */
  #show() {
    const rated = [...this.#topics].map(([name, topic]) => ({ name, total: topic.total, rate: this.#rate(topic) }));
    const busiest = rated.reverse().sort((a, b) => b.rate - a.rate).slice(0, SHOWN);
    busiest.sort((a, b) => (a.name < b.name ? -1 : 1));
    const rows = busiest.map((topic) => this.#row(topic));
    const isOther = rows.length !== $("topic-rows").childElementCount || rows.some((row, at) => row !== $("topic-rows").children[at]);
    if (isOther) $("topic-rows").replaceChildren(...rows);
    this.#rows = new Map(busiest.map(({ name }, at) => [name, rows[at]]));
    const others = rated.length - busiest.length;
    $("topics-more").hidden = others === 0;
    setText($("topics-more"), `The busiest ${SHOWN}; ${plural(others, "other topic")} had events, too.`);
    $("topics-table").hidden = rows.length === 0;
    $("topics-empty").hidden = rows.length > 0;
  }

  #rate({ seconds }) {
    const span = Math.min(SECONDS, Math.max(1, (performance.now() - this.#since) / 1_000));
    return seconds.reduce((sum, count) => sum + count) / span;
  }

  #row({ name, total, rate }) {
    const row = this.#rows.get(name) ?? this.#newRow(name);
    setText(row.querySelector(".rate"), rateText(rate));
    row.querySelector(".rate").title = `${plural(total, "event")} in all`;
    return row;
  }

  async #askForSubscribers() {
    const names = [...this.#rows.keys()];
    if (document.hidden || names.length === 0) return;
    const query = new URLSearchParams(names.map((name) => ["topic", name]));
    const streams = await subscribers(query);
    for (const [name, row] of this.#rows) setText(row.querySelector(".subscribers"), streams[name]?.toLocaleString("en") ?? "–");
  }

  #newRow(name) {
    const only = button(name, () => this.#onFilter("topic", name, false), "only");
    const hide = button("Hide", () => this.#onFilter("topic", name, true), "hide");
    only.title = "Show only this topic";
    hide.setAttribute("aria-label", `Hide ${name}`);
    const head = element("th", "", only);
    head.scope = "row";
    const row = element("tr", "", head, element("td", "rate"), element("td", "subscribers", "–"), element("td", "", hide));
    this.#press(name, row);
    return row;
  }

  #press(name, row) {
    for (const [selector, excludes] of [[".only", false], [".hide", true]]) {
      row.querySelector(selector).setAttribute("aria-pressed", String(this.#filter?.has("topic", name, excludes) ?? false));
    }
  }
}

function rateText(rate) {
  const digits = rate >= 10 || rate === 0 ? 0 : 1;
  return `${rate.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })}/s`;
}

/** Streams by topic; none if the server does not tell, which the connection's state explains. */
async function subscribers(query) {
  try {
    const response = await fetch(`console/subscribers?${query}`);
    return response.ok ? await response.json() : {};
  } catch {
    return {};
  }
}
