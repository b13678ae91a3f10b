// The console page as a test reads and uses it.
import { check, until } from "./chromium.mjs";

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

/** The rows of a topic, newest first, or null. */
export async function rowsOf(page, topic) {
  const rows = await page.locator("tr.event").evaluateAll((all) => all.map((row) => ({
    topic: row.querySelector(".topic").textContent,
    type: row.querySelector(".type").textContent,
    data: row.querySelector(".data").textContent,
    id: row.dataset.id,
    time: row.querySelector("time").dateTime,
  })));
  const found = rows.filter((row) => row.topic === topic);
  return found.length ? found : null;
}

export async function countRows(page) {
  return (await rowsOf(page, "count")) ?? [];
}

export function checkUnbroken(rows) {
  const numbers = rows.map((row) => Number(row.data));
  const broken = numbers.findIndex((n, i) => i > 0 && n !== numbers[i - 1] - 1);
  check(numbers.length > 1 && broken < 0, `not one after the other: ${numbers}`);
  check(new Set(rows.map((row) => row.id)).size === rows.length, "an event ID is there twice");
}

export async function publish(page, topic, data, type) {
  const query = type ? `?event=${encodeURIComponent(type)}` : "";
  const status = await page.evaluate(
    async ([path, body]) => (await fetch(path, { method: "POST", body })).status,
    [`events/${encodeURIComponent(topic)}${query}`, data],
  );
  check(status === 201, `publishing to ${topic} was answered ${status}`);
}

/** By the keyboard alone; wherever the focus rests it has to be seen. */
export async function tabTo(page, id) {
  for (let presses = 0; presses < 30; presses += 1) {
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
