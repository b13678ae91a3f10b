// console.mjs BASE_URL [--screenshots DIR]
//
// Asserts what the console page promises; prints {"ok":…} for each promise kept. The hub must tick topic `count`.
import { check, print, run, until } from "./chromium.mjs";
import { checkUnbroken, countRows, live, number, publish, rowsOf, stateIs, tabTo } from "./console-page.mjs";
import { measureContrasts } from "./contrast.mjs";
import { DESKTOP, PHONE, takePictures } from "./pictures.mjs";

const MARK = Math.random().toString(36).slice(2, 8);
const AT_ONCE = 4;
const WIDTHS = [320, 360, 768, 1024, 1152, 1440];

const PROMISES = [
  countsLive, publishesByKeyboard, showsAProblem, keepsMarkupText, goesOnAfterACut, keepsTheChoice, beginsWithHistory,
  pausesTheList, boundsTheList, tellsItsState, namesEveryControl, fitsEveryWidth, readsInLightAndDark, standsStill,
];

await run("console.mjs BASE_URL [--screenshots DIR]", async (browser, base, args) => {
  const waiting = [...PROMISES];
  const keepInTurn = async () => {
    for (let promise; (promise = waiting.shift()); ) await keep(promise, browser, base);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, keepInTurn));
  const at = args.indexOf("--screenshots");
  if (at >= 0) await takePictures(browser, base, args[at + 1]);
});

/** Each promise has a page of its own, and on none may anything be refused, thrown or fetched from elsewhere. */
async function keep(promise, browser, base) {
  const context = await browser.newContext({ viewport: DESKTOP });
  const page = await context.newPage();
  const tolerated = [];
  const wrongs = watchForWrongs(page, base, tolerated);
  try {
    const seen = await promise(page, base, { tolerate: (text) => tolerated.push(text) });
    check(wrongs.length === 0, wrongs.join("; "));
    print({ ok: promise.name, ...seen });
  } catch (error) {
    throw new Error(`${promise.name}: ${[error.message, ...wrongs].join("; ")}`);
  } finally {
    await context.close();
  }
}

function watchForWrongs(page, base, tolerated) {
  const wrongs = [];
  page.on("console", (line) => {
    const isWrong = line.type() === "error" && !tolerated.some((text) => line.text().includes(text));
    if (isWrong) wrongs.push(`console error: ${line.text()}`);
  });
  page.on("pageerror", (error) => wrongs.push(`thrown: ${error.message}`));
  page.on("dialog", (dialog) => {
    wrongs.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(base).origin) wrongs.push(`a request to ${request.url()}`);
  });
  return wrongs;
}

async function countsLive(page, base) {
  const policy = (await page.goto(base)).headers()["content-security-policy"] ?? "";
  check(policy.includes("default-src 'none'") && !policy.includes("unsafe"), `the policy is not strict: ${policy}`);
  await live(page);
  const first = await until("a number", () => number(page, "#count"));
  await until("two more ticks", async () => (await number(page, "#count")) >= first + 2);
  const [rows, lastId] = [await countRows(page), await page.textContent("#last-event-id")];
  check(lastId !== "none yet", "the last event ID is not shown");
  checkUnbroken(rows);
  return { count: first + 2 };
}

async function publishesByKeyboard(page, base) {
  await page.goto(base);
  await live(page);
  const topic = `test/${MARK}/keyboard`;
  await tabTo(page, "publish-topic");
  await page.keyboard.press("Control+A");
  await page.keyboard.type(topic);
  await tabTo(page, "publish-type");
  await page.keyboard.type("brewed");
  await tabTo(page, "publish-data");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("first line\nsecond line");
  await tabTo(page, "publish-send");
  await page.keyboard.press("Enter");
  const answer = await until("the answer", () => page.textContent("#answer"));
  check(answer.startsWith("Published as "), answer);
  const [row] = await until("the row", () => rowsOf(page, topic));
  const id = answer.slice("Published as ".length);
  check(row.type === "brewed" && row.data === "first line\nsecond line" && row.id === id, row);
  check(!Number.isNaN(Date.parse(row.time)), `the time is ${row.time}`);
  return { id };
}

async function showsAProblem(page, base, { tolerate }) {
  tolerate("status of 400");
  await page.goto(base);
  await live(page);
  await page.fill("#publish-topic", `test/${MARK}/../b`);
  await page.press("#publish-data", "Control+Enter");
  const answer = await until("the answer", () => page.textContent("#answer"));
  check(/^400 .+: .+/s.test(answer), `not the title and the detail of a problem: ${answer}`);
  return { answer };
}

async function keepsMarkupText(page, base) {
  const markup = "<img src=x onerror=alert(1)>";
  await page.goto(base);
  await live(page);
  await publish(page, `test/${MARK}/${markup}`, markup, `<b>${MARK}</b>`);
  const [row] = await until("the row", () => rowsOf(page, `test/${MARK}/${markup}`));
  check(row.data === markup && row.type === `<b>${MARK}</b>`, row);
  check((await page.locator("img, b, body script").count()) === 0, "data became markup");
}

async function goesOnAfterACut(page, base) {
  const requests = [];
  page.on("request", (request) => requests.push(new URL(request.url())));
  // The list is bounded, and other pages here publish more than it keeps to other topics.
  await page.goto(`${base}?topic=count`);
  await live(page);
  await until("a few ticks", async () => (await number(page, "#received")) >= 2);
  await page.click("#cut");
  check((await page.textContent("#state")) === "Reconnecting", "a cut is not shown");
  const [lastId, received] = [await page.textContent("#last-event-id"), await number(page, "#received")];
  await live(page);
  await until("a row that tells of the time away", async () => (await page.locator("tr.resumed").count()) === 1);
  await until("what was missed, and more", async () => (await number(page, "#received")) >= received + 4);
  check(requests.at(-1).searchParams.get("last_event_id") === lastId, `${requests.at(-1)} does not go on after ${lastId}`);
  checkUnbroken(await countRows(page));
  check((await number(page, "#doubles")) + (await number(page, "#holes")) === 0, "the tally shows a double or a hole");
  return { resumedAfter: lastId, received: await number(page, "#received") };
}

async function keepsTheChoice(page, base) {
  const [wanted, other] = [`test/${MARK}/choice/42`, `other/${MARK}`];
  await page.goto(base);
  await live(page);
  await until("a tick", () => number(page, "#received"));
  await page.fill("#topics", `test/${MARK} with & and spaces`);
  await page.fill("#patterns", `test/${MARK}/choice/*`);
  await page.press("#choice-apply", "Enter");
  await checkChoiceHolds(page, wanted, other);
  await page.reload();
  check((await page.inputValue("#patterns")) === `test/${MARK}/choice/*`, "a reload loses the patterns");
  check((await page.inputValue("#topics")) === `test/${MARK} with & and spaces`, "a reload loses the topics");
  await checkChoiceHolds(page, wanted, other);
  await page.goBack();
  check((await page.inputValue("#patterns")) === "", "going back does not bring back the choice before");
  await until("the count again", () => number(page, "#received"));
  return { query: new URL(page.url()).search };
}

async function checkChoiceHolds(page, wanted, other) {
  await live(page);
  await publish(page, other, "not wanted");
  await publish(page, wanted, "wanted");
  await until("the row of the pattern", () => rowsOf(page, wanted));
  const topics = await page.locator("tr.event .topic").allTextContents();
  check(topics.every((topic) => topic === wanted), `the list has ${topics}`);
}

async function beginsWithHistory(page, base) {
  const topic = `test/${MARK}/history`;
  await page.goto(base);
  await live(page);
  for (const data of ["1", "2", "3"]) await publish(page, topic, data);
  await page.goto(new URL(`?topic=${encodeURIComponent(topic)}&last=2`, base).href);
  const rows = await until("the last two", async () => ((await rowsOf(page, topic))?.length === 2 ? rowsOf(page, topic) : null));
  check(rows.map((row) => row.data).join() === "3,2", rows);
  check((await page.inputValue("#begin")) === "last=2", "the form does not show where the list begins");
}

async function pausesTheList(page, base) {
  const topic = `test/${MARK}/pause`;
  await page.goto(base);
  await live(page);
  await page.click("#pause");
  await publish(page, topic, "held");
  await until("the note on it", async () => /Paused; [1-9]/.test(await page.textContent("#shown")));
  check(!(await rowsOf(page, topic)), "a paused list goes on");
  await page.click("#pause");
  await until("the row", () => rowsOf(page, topic));
}

async function boundsTheList(page, base) {
  await page.goto(`${base}?topic=${encodeURIComponent(`test/${MARK}/many`)}`);
  await live(page);
  await page.evaluate(async (path) => {
    for (let sent = 0; sent < 230; sent += 10) {
      await Promise.all(Array.from({ length: 10 }, () => fetch(path, { method: "POST", body: "one of many" })));
    }
  }, `events/${encodeURIComponent(`test/${MARK}/many`)}`);
  await until("the last of them", async () => (await page.textContent("#shown")).startsWith("230 events"));
  const [rows, note] = [await page.locator("#rows tr").count(), await page.textContent("#shown")];
  check(rows === 200 && note.includes("newest 200 rows"), `${rows} rows, and: ${note}`);
}

async function tellsItsState(page, base, { tolerate }) {
  tolerate("status of 503");
  const answers = [];
  await page.route("**/events?*", (route) => new Promise((resolve) => answers.push(resolve)).then((answer) => answer(route)));
  const refuse = { status: 503, contentType: "application/problem+json", body: '{"title":"Full","detail":"Come later."}' };
  await page.goto(base);
  await stateIs(page, "Connecting");
  await answerNext(answers, (route) => route.fulfill(refuse));
  await stateIs(page, "Ended");
  await answerNext(answers, (route) => route.fulfill(refuse));
  await until("the reason", async () => (await page.textContent("#state-note")).startsWith("503 Full: Come later."));
  await page.click("#reconnect");
  await stateIs(page, "Reconnecting");
  await answerNext(answers, (route) => route.continue());
  await live(page);
  await page.unrouteAll({ behavior: "ignoreErrors" });
}

async function answerNext(answers, answer) {
  (await until("a request for the stream", () => answers.shift()))(answer);
}

async function namesEveryControl(page, base) {
  await page.goto(base);
  await live(page);
  await until("a row", () => page.locator("tr.event").count());
  const controls = ["button", "textbox", "combobox", "link", "DisclosureTriangle"];
  let named = 0;
  for (const viewport of [DESKTOP, PHONE]) {
    await page.setViewportSize(viewport);
    const nodes = await accessibilityTree(page);
    const found = nodes.filter((node) => controls.includes(node.role));
    const nameless = found.filter((node) => !node.name);
    check(found.length >= 8 && nameless.length === 0, { controls: found.length, nameless });
    for (const role of ["banner", "main", "table", "columnheader", "row", "cell", "status", "heading"]) {
      check(nodes.some((node) => node.role === role), `nothing has the role ${role} at ${viewport.width} px`);
    }
    named = found.length;
  }
  const outline = await page.locator("h1, h2").evaluateAll((all) => all.map((heading) => heading.tagName).join(" "));
  check(/^H1( H2)+$/.test(outline), `the headings are ${outline}`);
  return { named };
}

async function accessibilityTree(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  const seen = nodes.filter((node) => !node.ignored);
  return seen.map((node) => ({ role: node.role?.value, name: node.name?.value?.trim() }));
}

async function fitsEveryWidth(page, base) {
  await page.goto(base);
  await live(page);
  await publish(page, `test/${MARK}/${"long".repeat(40)}`, "unbroken".repeat(60), "type".repeat(20));
  await until("the row", () => rowsOf(page, `test/${MARK}/${"long".repeat(40)}`));
  await page.locator("#choice-details").evaluate((details) => (details.open = true));
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: PHONE.height });
    const needed = await page.evaluate(() => document.documentElement.scrollWidth);
    check(needed <= width, `at ${width} px the page is ${needed} px wide`);
    const cutOff = await page.evaluate(cutOffCounts, ["8888", "888888", "88888888"]);
    check(cutOff.length === 0, `at ${width} px the count is cut off: ${cutOff}`);
  }
  return { widths: WIDTHS };
}

/** Runs in the page, between two ticks. */
function cutOffCounts(counts) {
  const [content, count] = [document.getElementById("content"), document.getElementById("count")];
  return counts.filter((digits) => {
    count.textContent = digits;
    content.dataset.long = String(digits.length > 4);
    return count.getBoundingClientRect().right > content.getBoundingClientRect().right;
  });
}

async function readsInLightAndDark(page, base) {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.goto(base);
  await live(page);
  await publish(page, `test/${MARK}/colours`, "x", "typed");
  await until("the row", () => rowsOf(page, `test/${MARK}/colours`));
  const papers = [];
  let weakest = Infinity;
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    papers.push(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    weakest = Math.min(weakest, await weakestContrast(page, colorScheme));
  }
  check(papers[0] !== papers[1], `light and dark are both ${papers[0]}`);
  return { weakest };
}

async function weakestContrast(page, scheme) {
  const { texts, edges } = await page.evaluate(measureContrasts);
  for (const { name, ratio } of texts) check(ratio >= 4.5, `${scheme}: ${name} has a contrast of ${ratio.toFixed(2)}`);
  for (const { name, ratio } of edges) check(ratio >= 3, `${scheme}: the edge of ${name} has ${ratio.toFixed(2)}`);
  check(texts.length > 20 && edges.length > 5, "too little was measured");
  return Number(Math.min(...texts.map(({ ratio }) => ratio)).toFixed(2));
}

async function standsStill(page, base) {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.goto(base);
  await until("two ticks", async () => (await number(page, "#received")) >= 2);
  const moving = await page.evaluate(() => document.getAnimations().length);
  check(moving === 0, `${moving} animations run although motion is to be reduced`);
}
