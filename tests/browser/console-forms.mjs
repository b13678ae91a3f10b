// What the console promises of its forms and of the code that it shows.
import { execFile } from "node:child_process";
import { check, until } from "./chromium.mjs";
import { MARK, clipboard, only, open, publish, rowsOf, tabTo } from "./console-page.mjs";

export async function publishesByKeyboard(page, base) {
  const topic = `test/${MARK}/keyboard`;
  await open(page, base);
  await tabTo(page, "publish-topic");
  await page.keyboard.press("Control+A");
  await page.keyboard.type(topic);
  await tabTo(page, "publish-type");
  await page.keyboard.type("brewed");
  await tabTo(page, "publish-data");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("first line\nsecond line");
  await tabTo(page, "publish-private");
  await page.keyboard.press("Space");
  await tabTo(page, "publish-send");
  const isPublish = (request) => request.method() === "POST";
  const [published] = await Promise.all([page.waitForRequest(isPublish), page.keyboard.press("Enter")]);
  const answer = await until("the answer", () => page.textContent("#answer"));
  const [row] = await until("the row", () => rowsOf(page, topic));
  check(answer === `Published as ${row.id}`, answer);
  check(row.type === "brewed" && row.data === "first line ⏎ second line", row);
  check(!Number.isNaN(Date.parse(row.time)), `the time is ${row.time}`);
  const { search } = new URL(published.url());
  check(search === "?event=brewed&private", `published with ${search}`);
}

export async function showsErrorsBesideTheirField(page, base, { tolerate }) {
  for (const status of [400, 413]) tolerate(`status of ${status}`);
  await open(page, base);
  const fields = { "publish-topic": "a/../b", "publish-type": "carafe.own", "publish-data": "x".repeat(2_000_000) };
  for (const [id, wrong] of Object.entries(fields)) {
    const right = await page.inputValue(`#${id}`);
    await page.fill(`#${id}`, wrong);
    await page.press(`#${id}`, "Control+Enter");
    const error = await until(`an error beside ${id}`, () => page.textContent(`#${id}-error`));
    check(/\w+ \w+/.test(error), error);
    const [invalid, focused] = await page.evaluate(() => [
      [...document.querySelectorAll("[aria-invalid]")].map(({ id }) => id), document.activeElement.id,
    ]);
    check(invalid.join() === id && focused === id, { invalid, focused });
    check((await page.getAttribute(`#${id}`, "aria-describedby")) === `${id}-error`, "the error does not describe the field");
    check((await page.textContent("#answer")) === "Not published.", "the form does not say that nothing was published");
    await page.fill(`#${id}`, right);
    await until("the error gone from the corrected field", async () => (await page.textContent(`#${id}-error`)) === "");
  }
}

export async function showsOtherProblemsUnderTheForm(page, base, { tolerate }) {
  tolerate("status of 503");
  await open(page, base);
  const refuse = { status: 503, contentType: "application/problem+json", body: '{"title":"Full","detail":"Come later."}' };
  await page.route("**/events/*", (route) => route.fulfill(refuse));
  await page.click("#publish-send");
  await until("the problem", async () => (await page.textContent("#answer")) === "503 Full: Come later.");
}

export async function copiesThePublicationAsCurl(page, base) {
  const topic = `test/${MARK}/it's`;
  await open(page, base, only(topic));
  await page.fill("#publish-topic", topic);
  await page.fill("#publish-data", "@it's\n$HOME `one` \"two\"");
  await page.click("#publish-curl");
  await shell(await until("the command", async () => /^curl /.test(await clipboard(page)) && clipboard(page)));
  const [row] = await until("the row", () => rowsOf(page, topic));
  check(row.data === "@it's ⏎ $HOME `one` \"two\"", row);
}

export async function showsTheViewAsCurl(page, base) {
  const topic = `test/${MARK}/it's curl`;
  await open(page, base, `${only(topic)}&last=2`);
  await publish(page, topic, "for curl");
  await page.click("#code summary");
  await page.click("#copy-curl");
  const command = await until("the command", async () => /^curl -N /.test(await clipboard(page)) && clipboard(page));
  const output = await shell(`${command} --silent --max-time 2 || true`);
  check(output.includes("data: for curl\n"), output);
}

export async function showsTheViewAsJavaScript(page, base) {
  const topic = `test/${MARK}/javascript`;
  await open(page, base, `pattern=${encodeURIComponent(`test/${MARK}/java*`)}&last=2&filter=JavaScript`);
  await publish(page, topic, "for JavaScript", "brewed");
  const [{ id }] = await until("the row", () => rowsOf(page, topic));
  await page.click("#code summary");
  check(await page.locator("#code-filter").isVisible(), "nothing says that the filter is left out");
  const script = await page.textContent("#as-javascript");
  const isOfScript = (line) => line.text().includes("for JavaScript");
  const [logged] = await Promise.all([page.waitForEvent("console", isOfScript), page.evaluate(script)]);
  check(logged.text() === `${id} ${topic} brewed for JavaScript`, logged.text());
}

function shell(command) {
  return new Promise((resolve, reject) => {
    execFile("sh", ["-c", command], (error, stdout, stderr) => (error ? reject(new Error(stderr)) : resolve(stdout)));
  });
}
