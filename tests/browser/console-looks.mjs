// What the console promises to every eye, ear and screen.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { check, until } from "./chromium.mjs";
import { MARK, number, only, open, openRow, publish, rowsOf } from "./console-page.mjs";
import { measureContrasts } from "./contrast.mjs";
import { DESKTOP, PHONE } from "./pictures.mjs";

const WIDTHS = [320, 360, 640, 768, 1024, 1120, 1440, 1792, 2560];
const JSON_DATA = '{"drink":"flat white","sizes":[180,240],"takeaway":false,"note":null}';

export async function hasNoViolationThatAxeFinds(page, base, { tolerate }) {
  tolerate("status of 400");
  const axe = await readFile(fileURLToPath(import.meta.resolve("axe-core/axe.min.js")), "utf8");
  await page.emulateMedia({ reducedMotion: "reduce" });
  const looks = [
    ["empty", (topic) => open(page, base, only(topic))],
    ["full", (topic) => fill(page, topic)],
    ["open", () => openEverything(page)],
    ["with an error", () => provoke(page)],
    ["cut", () => page.click("#cut")],
  ];
  let rules = 0;
  for (const viewport of [DESKTOP, PHONE]) {
    await page.setViewportSize(viewport);
    const topic = `test/${MARK}/axe/${viewport.width}`;
    for (const [look, show] of looks) {
      await show(topic);
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        rules = Math.max(rules, await checkByAxe(page, axe, `${look}, ${viewport.width} px, ${colorScheme}`));
      }
    }
  }
  return { rules };
}
/** By the protocol of the debugger, so that the page's policy holds while axe runs. */
async function checkByAxe(page, axe, look) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"] }));
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`);
  check(violations.length === 0, `${look}: ${found.join("; ")}`);
  return passes.length;
}

async function fill(page, topic) {
  await publish(page, topic, JSON_DATA, "created");
  await publish(page, topic, "two\nlines");
  await until("the rows", async () => (await rowsOf(page, topic))?.length === 2);
  await until("the topic in the table", () => page.locator("#topic-rows tr").count());
}

async function openEverything(page) {
  await openRow(page, JSON_DATA);
  await page.locator("#view, #code").evaluateAll((all) => all.forEach((details) => (details.open = true)));
}

async function provoke(page) {
  await page.fill("#publish-topic", "a/../b");
  await page.press("#publish-topic", "Control+Enter");
  await until("the error", () => page.textContent("#publish-topic-error"));
}

export async function namesEveryControl(page, base) {
  const topic = `test/${MARK}/names`;
  await open(page, base, only(topic));
  await fill(page, topic);
  await openEverything(page);
  const controls = ["button", "textbox", "searchbox", "combobox", "checkbox", "link", "DisclosureTriangle"];
  let named = 0;
  for (const viewport of [DESKTOP, PHONE]) {
    await page.setViewportSize(viewport);
    const nodes = await accessibilityTree(page);
    const found = nodes.filter((node) => controls.includes(node.role));
    const nameless = found.filter((node) => !node.name);
    check(found.length >= 25 && nameless.length === 0, { controls: found.length, nameless });
    for (const role of ["banner", "main", "list", "listitem", "table", "columnheader", "rowheader", "status", "heading"]) {
      check(nodes.some((node) => node.role === role), `nothing has the role ${role} at ${viewport.width} px`);
    }
    named = found.length;
  }
  return { named };
}

async function accessibilityTree(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  const seen = nodes.filter((node) => !node.ignored);
  return seen.map((node) => ({ role: node.role?.value, name: node.name?.value?.trim() }));
}

export async function fitsEveryWidth(page, base) {
  const topic = `test/${MARK}/${"long".repeat(40)}`;
  await open(page, base, only(topic));
  await publish(page, topic, "unbroken".repeat(60), "type".repeat(20));
  await publish(page, topic, JSON.stringify({ ["key".repeat(40)]: "value".repeat(60) }));
  await until("the rows", async () => (await rowsOf(page, topic))?.length === 2);
  await until("the topic in the table", () => page.locator("#topic-rows tr").count());
  for (const summary of await page.locator("li.event > details > summary").all()) await summary.click();
  await page.locator("#view, #code").evaluateAll((all) => all.forEach((details) => (details.open = true)));
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: PHONE.height });
    const wide = await page.evaluate(widerThanTheirPlace);
    check(wide.length === 0, `at ${width} px too wide: ${wide}`);
    const cutOff = await page.evaluate(cutOffCounts, ["8888", "88888", "8888888"]);
    check(cutOff.length === 0, `at ${width} px the count is cut off: ${cutOff}`);
  }
  return { widths: WIDTHS };
}

/** Runs in the page: what would need a scroll bar to the side. Texts that end in an ellipsis do not. */
function widerThanTheirPlace() {
  const scrollers = [document.documentElement, ...document.querySelectorAll("main, .list, .side, #scroller, pre, .panel, form")];
  return scrollers.filter((each) => each.scrollWidth > each.clientWidth + 1).map((each) => `${each.tagName} ${each.id} ${each.className}`);
}

/** Runs in the page, between two ticks. */
function cutOffCounts(counts) {
  const [content, count] = [document.getElementById("content"), document.getElementById("count")];
  return counts.filter((digits) => {
    count.textContent = digits;
    count.dataset.long = String(digits.length > 4);
    return count.getBoundingClientRect().right > content.getBoundingClientRect().right + 1;
  });
}

export async function showsEventsOnTheFirstScreen(page, base) {
  const topic = `test/${MARK}/first`;
  await open(page, base, only(topic));
  for (const data of ["1", "2", "3"]) await publish(page, topic, data);
  await until("the rows", async () => (await rowsOf(page, topic))?.length === 3);
  for (const [width, height] of [[320, 568], [360, 780], [768, 1024], [1440, 900], [2560, 1440]]) {
    await page.setViewportSize({ width, height });
    const bottoms = await page.locator("li.event").evaluateAll((rows) => rows.map((row) => row.getBoundingClientRect().bottom));
    check(bottoms.length === 3 && bottoms.every((bottom) => bottom < height), `at ${width} px the rows end at ${bottoms}`);
  }
}

export async function readsInLightAndDark(page, base) {
  const topic = `test/${MARK}/colours`;
  await page.emulateMedia({ reducedMotion: "reduce" });
  await open(page, base, only(topic));
  await fill(page, topic);
  await openEverything(page);
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
  check(texts.length > 40 && edges.length > 15, "too little was measured");
  return Number(Math.min(...texts.map(({ ratio }) => ratio)).toFixed(2));
}

export async function standsStill(page, base) {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await open(page, base);
  await until("two ticks", async () => (await number(page, "#received")) >= 2);
  const moving = await page.evaluate(() => document.getAnimations().length);
  check(moving === 0, `${moving} animations run although motion is to be reduced`);
}
