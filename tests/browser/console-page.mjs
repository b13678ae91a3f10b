// The console page as a test reads and uses it.
import { check, until } from "./chromium.mjs";

/** Differs from run to run, so that a test finds its own events. */
export const MARK = Math.random().toString(36).slice(2, 8);

const BATCH = 1_000;

/** Opens the console with a view, such as `topic=a`, and waits until it is live. */
export async function open(page, base, query = "") {
  const response = await page.goto(query ? `${base}?${query}` : base);
  await live(page);
  return response;
}

/** The view of one topic. */
export function only(topic) {
  return `topic=${encodeURIComponent(topic)}`;
}

export function live(page) {
  return stateIs(page, "Live");
}

export async function stateIs(page, text) {
  await until(`the state ${text}`, async () => (await page.textContent("#state")) === text);
}

/** 0 while there is none. */
export async function number(page, selector) {
  return Number((await page.textContent(selector)).replaceAll(",", "")) || 0;
}

/** All rows of events, newest first. */
export function allRows(page) {
  return page.locator("li.event").evaluateAll((all) => all.map((row) => ({
    topic: row.querySelector(".topic").textContent,
    type: row.querySelector(".type").textContent,
    data: row.querySelector("summary > .data").textContent,
    id: row.dataset.id,
    time: row.querySelector("time").dateTime,
  })));
}

/** The rows of a topic, newest first, or null. */
export async function rowsOf(page, topic) {
  const found = (await allRows(page)).filter((row) => row.topic === topic);
  return found.length ? found : null;
}

/** Waits until the list shows exactly these data, newest first. */
export async function listIs(page, expected) {
  let seen;
  const matches = async () => (seen = (await allRows(page)).map(({ data }) => data)).join() === expected.join();
  await until(`the rows ${expected}`, matches).catch((error) => {
    throw new Error(`${error.message}; the rows are ${seen}`);
  });
}

/** Opens the row with this preview, and returns its panel. */
export async function openRow(page, data) {
  const row = page.locator("li.event").filter({ has: page.getByText(data, { exact: true }) });
  await row.locator("summary").first().click();
  await row.locator(".panel").waitFor();
  return row.locator(".panel");
}

export async function publish(page, topic, data, type) {
  const query = type ? `?event=${encodeURIComponent(type)}` : "";
  const status = await page.evaluate(
    async ([path, body]) => (await fetch(path, { method: "POST", body })).status,
    [`events/${encodeURIComponent(topic)}${query}`, data],
  );
  check(status === 201, `publishing to ${topic} was answered ${status}`);
}

/** Publishes many events in a few batches. Not in the page, which has to be idle for its part. */
export async function publishMany(page, topic, count, data = "one of many") {
  const headers = { "content-type": "application/x-ndjson" };
  for (let sent = 0; sent < count; sent += BATCH) {
    const numbers = Array.from({ length: Math.min(BATCH, count - sent) }, (_, at) => sent + at);
    const body = numbers.map((number) => JSON.stringify({ topic, data: `${data} ${number}` })).join("\n");
    const { status } = await fetch(new URL("events", page.url()), { method: "POST", headers, body });
    check(status === 201, `publishing many was answered ${status}`);
  }
}

export function clipboard(page) {
  return page.evaluate(() => navigator.clipboard.readText());
}

/** By the keyboard alone; wherever the focus rests it has to be seen. */
export async function tabTo(page, id) {
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press("Tab");
    const [focused, outline] = await page.evaluate(() => {
      const { id, tagName } = document.activeElement;
      return [id || tagName, getComputedStyle(document.activeElement).outlineStyle];
    });
    check(outline === "solid", `the focus on ${focused} cannot be seen`);
    if (focused === id) return;
  }
  throw new Error(`#${id} cannot be reached with the Tab key`);
}
