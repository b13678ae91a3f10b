// Pictures of the console with a lively list: light, dark, and on a phone.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { print, until } from "./chromium.mjs";
import { allRows, number, open, publish } from "./console-page.mjs";

export const PHONE = { width: 360, height: 780 };
export const DESKTOP = { width: 1440, height: 900 };

const ORDER = {
  order: 42,
  customer: { name: "Ada", loyal: true },
  items: [{ drink: "flat white", ml: 180, milk: "oat" }, { drink: "espresso", ml: 30 }],
  takeaway: false,
};

export async function takePictures(browser, base, directory) {
  await mkdir(directory, { recursive: true });
  const context = await browser.newContext({ viewport: DESKTOP, deviceScaleFactor: 2, reducedMotion: "reduce" });
  const page = await context.newPage();
  await open(page, base);
  await subscribe(base, "kitchen/grinder", "orders/42", "orders/42", "orders/41");
  await fillTheList(page);
  await takePicture(page, join(directory, "console-light.png"), DESKTOP, "light");
  await takePicture(page, join(directory, "console-dark.png"), DESKTOP, "dark");
  await context.close();
}

/** The streams stay open until the script ends. */
async function subscribe(base, ...topics) {
  await Promise.all(topics.map((topic) => fetch(new URL(`events/${topic}`, base))));
}

async function fillTheList(page) {
  for (const [topic, data, type] of earlier()) await publish(page, topic, data, type);
  await page.click("#cut");
  await publish(page, "orders/41", "ready at the bar", "brewed");
  await until("what was missed", async () => (await allRows(page))[0]?.data === "ready at the bar");
  await publish(page, "orders/42", JSON.stringify(ORDER), "created");
  await publish(page, "kitchen/grinder", '{"grams":18.2,"seconds":7.5}');
  await until("the order", async () => (await allRows(page))[1]?.topic === "orders/42");
  await page.locator("li.event summary").nth(1).click();
  await page.getByText("3 keys").click();
  await page.keyboard.press("Escape");
  const subscribers = () => page.locator(".subscribers").allTextContents();
  await until("the topics", async () => (await subscribers()).length === 5 && (await subscribers()).every((count) => count !== "–"));
  await until("more ticks", async () => (await number(page, "#received")) >= 5);
  await page.mouse.move(0, 0);
}

function earlier() {
  return Array.from({ length: 12 }, (_, at) => [
    ["orders/40", `{"order":40,"step":${at}}`, at % 2 ? "brewed" : "created"],
    ["stock/milk/oat", `{"litres":${12 - at / 4}}`, undefined],
    ["kitchen/grinder", `{"grams":18.${at},"seconds":7.${9 - (at % 9)}}`, undefined],
  ]).flat();
}

async function takePicture(page, path, viewport, colorScheme) {
  await page.setViewportSize(viewport);
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path });
  print({ screenshot: path });
}
