// llm.mjs BASE_URL
//
// Asks on the page of examples/llm, while the tabs are reloaded and lose the network. Prints {"asked":ID} when some of
// the first answer is there, and {"half":…} when half of it is: then the hub may be restarted. Prints
// {"whole":TEXT,"tabs":[…]} at its end. Then asks again, presses stop in the other tab, and prints {"stopped":ID,"tabs":[…]}.
import { answerTo } from "../../examples/llm/model.js";
import { print, run, until } from "./chromium.mjs";

const QUESTION = "How is espresso made?";

const shown = (page) => page.evaluate(() => ({
  text: document.getElementById("answer").textContent,
  state: document.getElementById("state").value,
}));

async function ask(page) {
  const before = new URL(page.url()).hash;
  await page.click("#ask button");
  return until("the address of the answer", () => {
    const { hash } = new URL(page.url());
    return hash !== before && hash.slice(1);
  });
}

const has = (page, count) => until(`${count} characters`, async () => (await shown(page)).text.length >= count);
const ended = (page) => until("the end", async () => {
  const seen = await shown(page);
  return !["", "writing", "connecting"].includes(seen.state) && seen;
});

await run("llm.mjs BASE_URL", async (browser, base) => {
  const whole = answerTo(QUESTION);
  const [first, second] = await Promise.all([browser.newContext(), browser.newContext()]);
  const [asking, other] = [await first.newPage(), await second.newPage()];
  await asking.goto(base);
  const id = await ask(asking);
  await has(asking, 20);
  print({ asked: id });
  await asking.reload();
  await other.goto(`${base}#${id}`);
  await has(other, 40);
  await has(asking, whole.length / 3);
  // Chromium keeps an open stream when it goes offline, and opens no other: the tab loses its stream with the hub.
  await second.setOffline(true);
  const { length } = (await shown(asking)).text;
  print({ half: id });
  await until("the tab has no network", async () => (await shown(other)).state === "connecting");
  await has(asking, length + 100);
  await second.setOffline(false);
  const late = await first.newPage();
  await late.goto(`${base}#${id}`);
  print({ whole, tabs: await Promise.all([asking, other, late].map(ended)) });

  const again = await ask(asking);
  await other.goto(`${base}#${again}`);
  await has(other, 20);
  await other.click("#stop");
  print({ stopped: again, tabs: await Promise.all([asking, other].map(ended)) });
});
