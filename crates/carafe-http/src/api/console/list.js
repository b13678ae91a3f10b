// The list of events. Rows are made in frames, a few in each, and only the newest that pass the filter are there.
import { $, plural, setText } from "./dom.js";
import { Filter } from "./filter.js";
import { count } from "./pace.js";
import { rowOf } from "./row.js";

/** What one frame does at most; the last event that it scans may go beyond the characters. */
export const FRAME = { rows: 50, scanned: 1_000, characters: 1_000_000 };
const ROWS = { first: 200, step: 200, most: 2_000 };
/** A list that is scrolled this far is being read. */
const SCROLLED = 4;

export class EventList {
  #store;
  #onFilter;
  #filter = new Filter("");
  #limit = ROWS.first;
  /** The rows are what passes the filter among the events from `low` on, and before `high`. */
  #low = 0;
  #high = 0;
  /** Events after the rows that pass the filter, counted up to `counted`, while the list is held. */
  #fresh = 0;
  #counted = 0;
  #frame = 0;
  #received = 0;

  constructor(store, onFilter) {
    [this.#store, this.#onFilter] = [store, onFilter];
    $("pause").addEventListener("click", () => this.#pause(!this.#isPaused()));
    $("clear").addEventListener("click", () => this.#clear());
    $("fresh").addEventListener("click", () => this.#release());
    $("older").addEventListener("click", () => this.#showOlder());
    $("scroller").addEventListener("scroll", () => this.#schedule(), { passive: true });
    $("rows").addEventListener("focusout", () => this.#schedule());
    $("rows").addEventListener("keydown", (event) => this.#moveByKey(event));
  }

  /** There is more in the store. */
  grown(events) {
    this.#received += events;
    this.#schedule();
  }

  filterBy(text) {
    this.#filter = new Filter(text);
    this.#limit = ROWS.first;
    this.#restart();
  }

  /** Another view: nothing of the one before stays. */
  reset() {
    this.#received = 0;
    this.#pause(false);
    this.#clear();
  }

  #clear() {
    this.#store.clear();
    this.#limit = ROWS.first;
    this.#restart();
  }

  #restart() {
    $("rows").replaceChildren();
    this.#low = this.#high = this.#store.end;
    this.#schedule();
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => this.#work());
  }

  #work() {
    this.#frame = 0;
    const left = { ...FRAME };
    const held = this.#isHeld();
    if (held) this.#countFresh(left);
    else this.#addNewer(left);
    this.#addOlder(left);
    if (!held) this.#trim();
    count("rows", FRAME.rows - left.rows);
    count("scanned", FRAME.scanned - left.scanned);
    this.#keepTabStop();
    this.#tell(held);
    if (this.#hasWork(held)) this.#schedule();
  }

  #hasWork(held) {
    const newest = held ? Math.max(this.#counted, this.#high) : this.#high;
    return newest < this.#store.end || (this.#low > this.#store.first && $("rows").childElementCount < this.#limit);
  }

  #addNewer(left) {
    [this.#fresh, this.#counted] = [0, 0];
    const made = [];
    this.#high = Math.max(this.#high, this.#store.first);
    for (; this.#high < this.#store.end && hasRoom(left); this.#high++) this.#add(this.#high, made, left);
    $("rows").prepend(...made.reverse());
    // Too far behind: all rows are about to be replaced, so the newest come first.
    if (this.#store.end - this.#high > ROWS.first) this.#restart();
  }

  #addOlder(left) {
    const made = [];
    const room = this.#limit - $("rows").childElementCount;
    while (this.#low > this.#store.first && hasRoom(left) && made.length < room) this.#add(--this.#low, made, left);
    $("rows").append(...made);
  }

  #add(number, made, left) {
    if (!this.#passes(number, left)) return;
    left.rows -= 1;
    made.push(rowOf(this.#store.get(number), this.#onFilter));
  }

  #passes(number, left) {
    const entry = this.#store.get(number);
    left.scanned -= 1;
    left.characters -= entry.data.length;
    return Boolean(entry.note) || this.#filter.matches(entry);
  }

  #countFresh(left) {
    this.#counted = Math.max(this.#counted, this.#high, this.#store.first);
    for (; this.#counted < this.#store.end && hasRoom(left); this.#counted++) {
      if (this.#passes(this.#counted, left)) this.#fresh += 1;
    }
  }

  /** Removes rows beyond the limit, and those of events that are no longer kept. */
  #trim() {
    const { children } = $("rows");
    while (children.length > this.#limit) {
      this.#low = children[children.length - 1].number + 1;
      children[children.length - 1].remove();
    }
    while (children.length && children[children.length - 1].number < this.#store.first) children[children.length - 1].remove();
    this.#low = Math.max(this.#low, this.#store.first);
  }

  // ---- Holding still

  #isPaused() {
    return $("pause").getAttribute("aria-pressed") === "true";
  }

  #isHeld() {
    return this.#isPaused() || $("scroller").scrollTop > SCROLLED || $("rows").contains(document.activeElement);
  }

  #pause(paused) {
    $("pause").setAttribute("aria-pressed", String(paused));
    this.#schedule();
  }

  #release() {
    const hadFocus = $("fresh").contains(document.activeElement);
    if ($("rows").contains(document.activeElement)) document.activeElement.blur();
    $("scroller").scrollTop = 0;
    this.#pause(false);
    if (hadFocus) $("scroller").focus();
  }

  #showOlder() {
    this.#limit = Math.min(this.#limit + ROWS.step, ROWS.most);
    this.#schedule();
  }

  #tell(held) {
    const rows = $("rows").childElementCount;
    const events = $("rows").getElementsByClassName("event").length;
    const isShort = rows >= this.#limit && this.#low > this.#store.first;
    $("shown").textContent = `${this.#received.toLocaleString("en")} received, ${events.toLocaleString("en")} shown`;
    $("fresh").hidden = !(held && this.#fresh);
    if (this.#fresh) setText($("fresh"), `Show ${plural(this.#fresh, "new event")}`);
    $("older").hidden = !isShort || this.#limit >= ROWS.most;
    $("oldest").hidden = !isShort || this.#limit < ROWS.most;
    $("empty").hidden = rows > 0 || this.#store.end > this.#store.first;
    $("no-match").hidden = rows > 0 || this.#store.end === this.#store.first || this.#hasWork(held);
  }

  // ---- The keyboard

  #keepTabStop() {
    const rows = $("rows");
    if (rows.querySelector("summary[tabindex='0']") && rows.contains(document.activeElement)) return;
    this.#stopAt(rows.querySelector(".event summary"));
  }

  #stopAt(summary) {
    for (const other of $("rows").querySelectorAll(".event > details > summary[tabindex='0']")) other.tabIndex = -1;
    if (summary) summary.tabIndex = 0;
  }

  #moveByKey(event) {
    if (event.key === "Escape") return document.activeElement.blur();
    const summaries = [...$("rows").querySelectorAll(".event > details > summary")];
    const at = summaries.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: summaries.length - 1 }[event.key];
    if (at < 0 || !summaries[to]) return;
    event.preventDefault();
    this.#stopAt(summaries[to]);
    summaries[to].focus();
  }
}

function hasRoom({ rows, scanned, characters }) {
  return rows > 0 && scanned > 0 && characters > 0;
}
