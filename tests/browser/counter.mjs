// counter.mjs BASE_URL
//
// Opens the tutorial's page, and prints {"content":…} once it shows a third line. Nothing but text and line breaks may
// stand in the content.
import { check, print, run, until } from "./chromium.mjs";

await run("counter.mjs BASE_URL", async (browser, base) => {
  const page = await browser.newPage();
  await page.goto(base);
  const content = await until("the third line", () => page.evaluate(() => {
    const { innerText, children } = document.getElementById("content");
    const elements = [...children].map(({ tagName }) => tagName);
    return elements.length >= 3 && { text: innerText.trim(), elements };
  }));
  check(content.elements.every((name) => name === "BR"), content);
  print({ content: content.text });
});
