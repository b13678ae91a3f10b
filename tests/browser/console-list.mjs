// What the console promises of its list: JSON, copies, filters, and a list that can be read while events arrive.
import { check, until } from "./chromium.mjs";
import {
  MARK, allRows, clipboard, listIs, live, number, only, open, openRow, publish, publishMany, rowsOf,
} from "./console-page.mjs";

export async function printsJsonThatOpens(page, base) {
  const topic = `test/${MARK}/json`;
  await open(page, base, only(topic));
  const data = '{"id":12345678901234567890,"price":1.0,"order":{"lines":[{"drink":"flat white"}]},"none":null,"list":[]}';
  await publish(page, topic, data);
  await until("the row", () => rowsOf(page, topic));
  const panel = await openRow(page, data);
  const shown = await panel.locator(".json").evaluate((json) => json.innerText.replace(/[▸▾]/g, "").split("\n").map((l) => l.trim()));
  const lines = ["{", '"id": 12345678901234567890,', '"price": 1.0,', '"order": {', '"lines": [ 1 item ]', "},", '"none": null,', '"list": []', "}"];
  check(shown.join("\n") === lines.join("\n"), shown);
  check((await panel.getByText('"flat white"').count()) === 0, "what is closed was built");
  await panel.getByText('"lines"').click();
  await panel.getByText("1 key }", { exact: true }).click();
  await until("the nested object", async () => await panel.getByText('"flat white"').isVisible());
}

export async function showsLongDataInParts(page, base) {
  const topic = `test/${MARK}/long`;
  await open(page, base, only(topic));
  await publish(page, topic, `[${Array.from({ length: 250 }, (_, at) => at).join()}]`);
  await publish(page, topic, "x".repeat(50_000));
  await until("both rows", async () => (await allRows(page)).length === 2);
  const [text, list] = [page.locator("li.event").nth(0), page.locator("li.event").nth(1)];
  for (const row of [text, list]) await row.locator("summary").first().click();
  check((await text.locator(".text").innerText()).length < 21_000, "a long text is shown at once");
  await text.locator(".more").click();
  await text.locator(".more").click();
  await until("the whole text", async () => (await text.locator(".text").textContent()).trim() === "x".repeat(50_000));
  await until("the first part of the array", async () => (await list.locator(".json .leaf").count()) === 100);
  await list.locator(".more").click();
  await list.locator(".more").click();
  await until("the whole array", async () => (await list.locator(".json .leaf").count()) === 250);
}

export async function copiesDataAndEvent(page, base) {
  const topic = `test/${MARK}/copy`;
  await open(page, base, only(topic));
  await publish(page, topic, "two\nlines", "brewed");
  const [row] = await until("the row", () => rowsOf(page, topic));
  check(row.data === "two ⏎ lines", row);
  const panel = await openRow(page, "two ⏎ lines");
  await panel.getByRole("button", { name: "Copy data" }).click();
  await panel.getByRole("button", { name: "Copied" }).waitFor();
  await until("the copy of the data", async () => (await clipboard(page)) === "two\nlines");
  await panel.getByRole("button", { name: "Copy event" }).click();
  const copied = await until("the event", async () => /^\{/.test(await clipboard(page)) && JSON.parse(await clipboard(page)));
  const { id, time } = row;
  check(JSON.stringify(copied) === JSON.stringify({ topic, id, time, type: "brewed", data: "two\nlines" }), copied);
}

export async function keepsMarkupText(page, base) {
  const markup = "<img src=x onerror=alert(1)>";
  const topic = `test/${MARK}/${markup}`;
  await open(page, base, only(topic));
  await publish(page, topic, markup, `<b>${MARK}</b>`);
  await publish(page, topic, JSON.stringify({ [markup]: markup }));
  await until("both rows", async () => (await rowsOf(page, topic))?.length === 2);
  const row = (await rowsOf(page, topic))[1];
  check(row.data === markup && row.type === `<b>${MARK}</b>`, row);
  for (const index of [0, 1]) await page.locator("li.event summary").nth(index).click();
  await until("the topic in the table", () => page.getByRole("rowheader", { name: topic }).count());
  check((await page.locator("img, b, body script").count()) === 0, "data became markup");
}

export async function filtersByTopicTypeAndWords(page, base) {
  const [orders, stock] = [`test/${MARK}/filter/orders`, `test/${MARK}/filter/stock`];
  await open(page, base, `pattern=${encodeURIComponent(`test/${MARK}/filter/*`)}`);
  await publish(page, orders, "flat white", "created");
  await publish(page, orders, "flat white done", "brewed");
  await publish(page, stock, "oat milk");
  await listIs(page, ["oat milk", "flat white done", "flat white"]);
  const filters = {
    [`topic:${orders}`]: ["flat white done", "flat white"],
    [`-topic:${orders}`]: ["oat milk"],
    "topic:*/stock": ["oat milk"],
    "topic:*/stock type:brewed": [],
    "type:created type:brewed": ["flat white done", "flat white"],
    "-type:cre*": ["oat milk", "flat white done"],
    'type:""': ["oat milk"],
    "WHITE -done": ["flat white"],
    '"white done"': ["flat white done"],
    "topic:filter": [],
  };
  for (const [filter, rows] of Object.entries(filters)) {
    await page.fill("#filter", filter);
    await listIs(page, rows);
  }
  check(await page.locator("#no-match").isVisible(), "nothing says that the filter hides all");
  await page.click("#unfilter");
  await listIs(page, ["oat milk", "flat white done", "flat white"]);
  return { filters: Object.keys(filters).length };
}

export async function filtersByButtons(page, base) {
  const [orders, stock] = [`test/${MARK}/buttons/orders`, `test/${MARK}/buttons/a "b" *`];
  await open(page, base, `pattern=${encodeURIComponent(`test/${MARK}/buttons/*`)}`);
  await publish(page, orders, "flat white", "created");
  await publish(page, stock, "oat milk");
  await listIs(page, ["oat milk", "flat white"]);
  await (await openRow(page, "oat milk")).getByRole("button", { name: "Only this topic" }).click();
  await listIs(page, ["oat milk"]);
  await page.reload();
  await live(page);
  check((await page.inputValue("#filter")) === `topic:"test/${MARK}/buttons/a \\"b\\" *"`, "the address loses the filter");
  await publish(page, orders, "espresso", "created");
  await publish(page, stock, "soy milk");
  await listIs(page, ["soy milk"]);
  await page.getByRole("button", { name: stock, exact: true }).click();
  await listIs(page, ["soy milk", "espresso"]);
  await (await openRow(page, "espresso")).getByRole("button", { name: "Hide this type" }).click();
  await listIs(page, ["soy milk"]);
  await until("the filter hides the type", async () => (await page.inputValue("#filter")) === "-type:created");
}

export async function listsTopicsWithRateAndSubscribers(page, base) {
  const [busy, quiet] = [`test/${MARK}/rates/busy`, `test/${MARK}/rates/quiet`];
  await open(page, base, `pattern=${encodeURIComponent(`test/${MARK}/rates/*`)}`);
  const others = await Promise.all([busy, busy, quiet].map((topic) => fetch(new URL(`events?${only(topic)}`, base))));
  await publish(page, quiet, "once");
  await publishMany(page, busy, 60);
  // Watched in the page: a rate lasts for ten seconds.
  const seen = await page.waitForFunction(() => {
    const shown = (name) => [...document.querySelectorAll(`#topic-rows .${name}`)].map(({ textContent }) => textContent);
    return parseFloat(shown("rate")[0]) >= 6 && shown("rate").length === 2 && [...shown("only"), ...shown("rate")];
  });
  const [first, second, fast, slow] = await seen.jsonValue();
  check(first === busy && second === quiet && parseFloat(fast) > parseFloat(slow), [first, second, fast, slow]);
  // Pages of other promises read every topic, so there may be more than these and the page itself.
  const subscribers = async () => (await page.locator(".subscribers").allTextContents()).map(Number);
  await until("the subscribers", async () => {
    const [ofBusy, ofQuiet] = await subscribers();
    return ofBusy >= 3 && ofQuiet >= 2 && ofBusy === ofQuiet + 1;
  });
  await others[0].body.cancel();
  await until("one subscriber less", async () => new Set(await subscribers()).size === 1);
  await Promise.all(others.slice(1).map(({ body }) => body.cancel()));
  await page.getByRole("button", { name: `Hide ${busy}` }).click();
  await listIs(page, ["once"]);
}

export async function pausesTheList(page, base) {
  const topic = `test/${MARK}/pause`;
  await open(page, base, only(topic));
  await page.click("#pause");
  await publish(page, topic, "held");
  await until("the note on it", async () => (await page.textContent("#fresh")) === "Show 1 new event");
  check(!(await rowsOf(page, topic)), "a paused list continues");
  await page.click("#pause");
  await listIs(page, ["held"]);
}

export async function standsStillWhileItIsRead(page, base) {
  const topic = `test/${MARK}/read`;
  await open(page, base, only(topic));
  await publishMany(page, topic, 60, "old");
  await until("the rows", async () => (await allRows(page)).length === 60);
  await page.locator("#scroller").evaluate((scroller) => (scroller.scrollTop = 300));
  await publish(page, topic, "new while scrolled");
  await page.getByRole("button", { name: "Show 1 new event" }).click();
  await until("the new row", async () => (await allRows(page))[0].data === "new while scrolled");
  await openRow(page, "new while scrolled");
  await publish(page, topic, "new while open");
  await page.getByRole("button", { name: "Show 1 new event" }).waitFor();
  check((await allRows(page))[0].data === "new while scrolled", "an open row moves");
  await page.getByRole("button", { name: "Show 1 new event" }).click();
  await until("the new row", async () => (await allRows(page))[0].data === "new while open");
}

export async function boundsTheListAndShowsOlder(page, base) {
  const topic = `test/${MARK}/many`;
  await open(page, base, only(topic));
  await publishMany(page, topic, 430);
  await until("the newest 200", async () => (await page.textContent("#shown")) === "430 received, 200 shown");
  check((await allRows(page))[0].data === "one of many 429", "the newest is not the first");
  for (const rows of [400, 430]) {
    await page.click("#older");
    await until(`${rows} rows`, async () => (await allRows(page)).length === rows);
  }
  const numbers = (await allRows(page)).map(({ data }) => Number(data.split(" ").at(-1)));
  check(numbers.every((number, at) => number === 429 - at), "rows are missing or out of order");
  await page.click("#clear");
  await listIs(page, []);
}

export async function leavesTheCounterOut(page, base) {
  await open(page, base);
  await until("a tick", () => number(page, "#received"));
  await publish(page, `test/${MARK}/counter`, "mine");
  await until("the row", () => rowsOf(page, `test/${MARK}/counter`));
  check(!(await rowsOf(page, "count")), "the counter is among the user's events");
}

export async function isReadByTheKeyboard(page, base) {
  const topic = `test/${MARK}/keys`;
  await open(page, base, only(topic));
  for (const data of ["1", "2", "3"]) await publish(page, topic, data);
  await listIs(page, ["3", "2", "1"]);
  const focused = () => page.evaluate(() => document.activeElement.querySelector(".data")?.textContent ?? null);
  await page.keyboard.press("Tab");
  await until("the link to the events as the first stop", async () => (await page.evaluate(() => document.activeElement.className)) === "skip");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await until("the focus on the newest row", async () => (await focused()) === "3");
  for (const [key, data] of [["ArrowDown", "2"], ["End", "1"], ["ArrowUp", "2"], ["Home", "3"], ["ArrowDown", "2"]]) {
    await page.keyboard.press(key);
    await until(`the row that ${key} leads to`, async () => (await focused()) === data);
  }
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Copy data" }).waitFor();
  await page.keyboard.press("Tab");
  await until("the focus in the panel", async () => (await page.evaluate(() => document.activeElement.textContent)) === "Copy data");
  await page.keyboard.press("Escape");
  await until("the focus outside of the list", async () => (await page.evaluate(() => document.activeElement.tagName)) === "BODY");
}
