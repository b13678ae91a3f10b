// The examples of docs/BROWSER.md, in a page as they are printed.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { skip, startBrowser, until } from "./support/chromium.js";
import { startHub } from "./support/hub.js";
import { startSite } from "./support/site.js";

const GUIDE = await readFile(new URL("../../../docs/BROWSER.md", import.meta.url), "utf8");
const examples = [...GUIDE.matchAll(/^## (.*)\n|```js\n([^]*?)```/gm)];
const IMPORTS = '<!doctype html><script type="importmap">{"imports":{"carafe-client":"/src/index.js"}}</script>';

test("each example of the guide shows an event", { skip }, async (t) => {
  const hub = await startHub(t);
  let code;
  const page = (response) => response.writeHead(200, { "content-type": "text/html" }).end(`${IMPORTS}<script type="module">${code}</script>`);
  const site = await startSite(t, hub, { "/example": page, "/token": (response) => response.end("a-token") });
  const context = await startBrowser(t);
  let [heading, run] = ["", 0];
  for (const [, title, example] of examples) {
    if (title) heading = title;
    if (!example) continue;
    code = example;
    await checkExample(context, site, hub, heading);
    run++;
  }
  assert.ok(run >= 8, `${run} examples`);
});

async function checkExample(context, site, hub, heading) {
  const page = await context.newPage();
  const shown = [];
  page.on("console", (message) => shown.push(message.text()));
  page.on("pageerror", (error) => shown.push(`error: ${error.message}`));
  await page.goto(`${site.base}/example`);
  let number = 0;
  await until(`an event of "${heading}"`, async () => {
    await hub.publish("orders", 1_000_000 + number++, 1);
    return shown.some((line) => line.includes("100000"));
  });
  assert.deepEqual(shown.filter((line) => line.startsWith("error: ")), [], heading);
  await page.close();
}
