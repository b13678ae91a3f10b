// ai_sdk.mjs BASE_URL
//
// Asks on the page of examples/ai-sdk, and prints {"asked":CHAT}. Reloads the page in the middle, opens a second tab,
// and prints {"half":…} when both resume: then the hub may be restarted. Prints {"whole":TEXT,"tabs":[…]} at the end.
// Then asks again, presses stop in the other tab, and prints {"stopped":CHAT,"tabs":[…]}.
import { answerTo } from "../../examples/llm/model.js";
import { print, run, until } from "./chromium.mjs";

const QUESTION = "How is espresso made?";

const shown = (page) => page.evaluate(() => ({
  answers: [...document.querySelectorAll(".assistant")].map((answer) => answer.textContent),
  status: document.getElementById("status")?.value,
}));
const last = async (page) => (await shown(page)).answers.at(-1) ?? "";
const count = async (page) => (await shown(page)).answers.length;
const has = (page, length) => until(`${length} characters`, async () => (await last(page)).length >= length);
const ready = (page, answers) => until(`${answers} answers`, async () => {
  const seen = await shown(page);
  return seen.status === "ready" && seen.answers.length === answers && seen.answers.at(-1);
});

await run("ai_sdk.mjs BASE_URL", async (browser, base) => {
  const whole = answerTo(QUESTION);
  const [asking, other] = [await browser.newPage(), await browser.newPage()];
  await asking.goto(base);
  await until("the page is there", async () => (await shown(asking)).status === "ready");
  const chat = new URL(asking.url()).hash.slice(1);
  await asking.click("#ask");
  await has(asking, 20);
  print({ asked: chat });
  await asking.reload();
  await other.goto(`${base}#${chat}`);
  await Promise.all([has(asking, whole.length / 3), has(other, whole.length / 3)]);
  print({ half: chat });
  print({ whole, tabs: await Promise.all([ready(asking, 1), ready(other, 1)]) });

  await asking.reload();
  await ready(asking, 1);
  await asking.click("#ask");
  await until("the second answer begins", async () => (await count(asking)) === 2 && (await last(asking)).length > 20);
  await other.reload();
  await until("it is resumed", async () => (await count(other)) === 2 && (await last(other)).length > 20);
  await other.click("#stop");
  print({ stopped: chat, tabs: await Promise.all([ready(asking, 2), ready(other, 2)]) });
});
