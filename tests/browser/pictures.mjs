// Pictures of the console with a lively list: light, dark, and on a phone.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { print, until } from "./chromium.mjs";
import { live, number, publish } from "./console-page.mjs";

export const PHONE = { width: 360, height: 780 };
export const DESKTOP = { width: 1440, height: 900 };

export async function takePictures(browser, base, directory) {
  await mkdir(directory, { recursive: true });
  const context = await browser.newContext({ viewport: DESKTOP, deviceScaleFactor: 2, reducedMotion: "reduce" });
  const page = await context.newPage();
  await page.goto(base);
  await live(page);
  await fillTheList(page);
  await takePicture(page, join(directory, "console-light.png"), DESKTOP, "light");
  await takePicture(page, join(directory, "console-dark.png"), DESKTOP, "dark");
  await page.click("#choice-details summary");
  await takePicture(page, join(directory, "console-phone.png"), PHONE, "light");
  await context.close();
}

async function fillTheList(page) {
  await until("a tick", () => number(page, "#received"));
  await page.click("#cut");
  await live(page);
  await publish(page, "orders/41", '{"cup":"large","milk":"oat"}', "created");
  await page.click("#publish-send");
  await until("more ticks", async () => (await number(page, "#received")) >= 5);
  await publish(page, "orders/41", "ready at the bar", "brewed");
  await until("the next tick", async () => (await number(page, "#received")) >= 6);
  await page.mouse.move(0, 0);
}

async function takePicture(page, path, viewport, colorScheme) {
  await page.setViewportSize(viewport);
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path });
  print({ screenshot: path });
}
