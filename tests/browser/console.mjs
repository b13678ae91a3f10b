// console.mjs BASE_URL [list|stream|forms|looks|PROMISE] [--screenshots DIR]
//
// Asserts what the console page promises; prints {"ok":…} for each promise kept. The hub must be that of `carafe dev`.
import { STEP_MS, check, print, run } from "./chromium.mjs";
import * as forms from "./console-forms.mjs";
import * as list from "./console-list.mjs";
import * as looks from "./console-looks.mjs";
import * as stream from "./console-stream.mjs";
import { DESKTOP, takePictures } from "./pictures.mjs";

const USAGE = "console.mjs BASE_URL [list|stream|forms|looks|PROMISE] [--screenshots DIR]";
const PARTS = { list, stream, forms, looks };
const AT_ONCE = 2;

await run(USAGE, async (browser, base, args) => {
  const at = args.indexOf("--screenshots");
  if (at >= 0) return takePictures(browser, base, args[at + 1]);
  const all = Object.values(PARTS).flatMap((part) => Object.values(part));
  const waiting = Object.values(PARTS[args[0]] ?? all.filter(({ name }) => !args.length || name === args[0]));
  check(waiting.length > 0, `usage: ${USAGE}`);
  const keepInTurn = async () => {
    for (let promise; (promise = waiting.shift()); ) await keep(promise, browser, base);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, keepInTurn));
});

/** Each promise has a page of its own, and on none may anything be refused, thrown or fetched from elsewhere. */
async function keep(promise, browser, base) {
  const permissions = ["clipboard-read", "clipboard-write"];
  const context = await browser.newContext({ viewport: DESKTOP, permissions, ignoreHTTPSErrors: true });
  context.setDefaultTimeout(STEP_MS);
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
