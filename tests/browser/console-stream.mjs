// What the console promises of its stream: the demonstration, the view, and the state of the connection as it is.
import { check, until } from "./chromium.mjs";
import { MARK, allRows, listIs, live, number, only, open, publish, rowsOf, stateIs } from "./console-page.mjs";

export async function countsLive(page, base) {
  const policy = (await open(page, base)).headers()["content-security-policy"] ?? "";
  check(policy.includes("default-src 'none'") && !policy.includes("unsafe"), `the policy is not strict: ${policy}`);
  const first = await until("a number", () => number(page, "#count"));
  await until("two more ticks", async () => (await number(page, "#count")) >= first + 2);
  check((await page.textContent("#last-event-id")) !== "none yet", "the last event ID is not shown");
  check((await page.textContent("#verdict")) === "Nothing missing, nothing twice.", await page.textContent("#verdict"));
}

export async function continuesAfterACut(page, base) {
  const topic = `test/${MARK}/cut`;
  const requests = [];
  page.on("request", (request) => requests.push(new URL(request.url())));
  await open(page, base, only(topic));
  await until("a few ticks", async () => (await number(page, "#received")) >= 2);
  await publish(page, topic, "before");
  await listIs(page, ["before"]);
  const shown = await page.evaluate(cutAndLook);
  check(shown === "Cut Reconnects in 3 s.", `a cut is shown as ${shown}`);
  const [lastId, received] = [await page.textContent("#last-event-id"), await number(page, "#received")];
  await publish(page, topic, "meanwhile");
  await live(page);
  await listIs(page, ["meanwhile", "before"]);
  check((await page.locator("li.resumed").count()) === 1, "no row tells of the time away");
  await until("the ticks of the time away, and more", async () => (await number(page, "#received")) >= received + 4);
  const counters = requests.filter((url) => url.pathname.endsWith("/demo/events/count"));
  const resumed = counters.filter((url) => url.searchParams.has("last_event_id")).at(-1);
  check(resumed?.searchParams.get("last_event_id") === lastId, `${resumed} does not continue after ${lastId}`);
  check((await number(page, "#doubles")) + (await number(page, "#holes")) === 0, "the tally shows a double or a hole");
}

/** Runs in the page, which reconnects soon. */
function cutAndLook() {
  document.getElementById("cut").click();
  return ["state", "countdown"].map((id) => document.getElementById(id).textContent).join(" ");
}

export async function keepsTheView(page, base) {
  const [wanted, other] = [`test/${MARK}/view/42`, `other/${MARK}`];
  await open(page, base);
  await page.click("#view summary");
  await page.fill("#topics", `test/${MARK} with & and spaces`);
  await page.fill("#patterns", `test/${MARK}/view/*`);
  await page.press("#choice-apply", "Enter");
  await checkViewHolds(page, wanted, other);
  await page.reload();
  await until("the patterns after a reload", async () => (await page.inputValue("#patterns")) === `test/${MARK}/view/*`);
  await until("the topics after a reload", async () => (await page.inputValue("#topics")) === `test/${MARK} with & and spaces`);
  await checkViewHolds(page, wanted, other);
  await page.goBack();
  await until("the view before", async () => (await page.inputValue("#patterns")) === "");
  await until("the view in words", async () => (await page.textContent("#view-words")) === "every topic, from now on");
}

async function checkViewHolds(page, wanted, other) {
  await live(page);
  await publish(page, other, "not wanted");
  await publish(page, wanted, "wanted");
  await until("the row of the pattern", () => rowsOf(page, wanted));
  const topics = (await allRows(page)).map(({ topic }) => topic);
  check(topics.every((topic) => topic === wanted), `the list has ${topics}`);
}

export async function beginsWithHistory(page, base) {
  const topic = `test/${MARK}/history`;
  await open(page, base);
  for (const data of ["1", "2", "3"]) await publish(page, topic, data);
  await open(page, base, `${only(topic)}&last=2`);
  await listIs(page, ["3", "2"]);
  check((await page.inputValue("#begin")) === "last=2", "the form does not show where the list begins");
  await until("the counter", () => number(page, "#received"));
  await listIs(page, ["3", "2"]);
}

export async function tellsItsState(page, base, { tolerate }) {
  for (const text of ["status of 503", "status of 400", "ERR_FAILED"]) tolerate(text);
  const answers = [];
  await page.route("**/events?*", (route) => new Promise((resolve) => answers.push(resolve)).then((answer) => answer(route)));
  const next = async (answer) => (await until("a request for the stream", () => answers.shift()))(answer);
  const problem = (status, headers) => (route) => route.fulfill({
    status, headers, contentType: "application/problem+json", body: `{"title":"Title ${status}","detail":"Detail ${status}."}`,
  });
  const connectNow = () => page.click("#reconnect");
  await openInStoppedTime(page, base);

  await next(problem(503, { "retry-after": "7" }));
  await is(page, "Refused", "503 Title 503: Detail 503.", "Reconnects in 7 s.");
  await connectNow();
  await next(problem(400));
  await is(page, "Refused", "400 Title 400: Detail 400.", "");
  await connectNow();
  await stateIs(page, "Connecting");
  await next((route) => route.fulfill({ status: 204 }));
  await is(page, "Ended", "The server ended this stream for good: 204 No Content.", "");
  await connectNow();
  await next((route) => route.abort());
  await is(page, "Reconnecting", "The server does not answer.", "Reconnects in 6 s.");
  await connectNow();
  await next((route) => route.fulfill({ contentType: "text/event-stream", body: "retry: 9000\n\n" }));
  await is(page, "Reconnecting", "The server has no room now, and asks to come back later.", "Reconnects in 30 s.");
  await connectNow();
  await next((route) => route.fulfill({ contentType: "text/event-stream", body: "retry: 9000\ndata: {}\nevent: x\n\n" }));
  await is(page, "Reconnecting", "The server ended the stream.", "Reconnects in 9 s.");
  await connectNow();
  await next((route) => route.fulfill({ contentType: "text/html", body: "<p>A page of a proxy</p>" }));
  await is(page, "Refused", "The response is no event stream.", "");
  await connectNow();
  await next((route) => route.continue());
  await live(page);
  check((await page.title()) === "Carafe console", await page.title());
  await page.unrouteAll({ behavior: "ignoreErrors" });
}

/** So that no attempt begins by itself, and the wait is exact. */
async function openInStoppedTime(page, base) {
  await page.clock.install();
  await page.goto(base);
  await stateIs(page, "Connecting");
  await page.clock.pauseAt(await page.evaluate(() => Date.now() + 1_000));
}

async function is(page, state, note, countdown) {
  await stateIs(page, state);
  const [said, counted] = [await page.textContent("#state-note"), await page.textContent("#countdown")];
  check(said === note && counted === countdown, `${state}: ${said} ${counted}`);
  check((await page.title()).startsWith(state), `the title is ${await page.title()}`);
}

export async function noticesASilentConnection(page, base) {
  await page.route("**/events?*", () => {});
  await openInStoppedTime(page, base);
  await page.clock.fastForward(15_000);
  await is(page, "Reconnecting", "Nothing came for 15 s.", "Reconnects in 3 s.");
  await page.unrouteAll({ behavior: "ignoreErrors" });
}

export async function hidesTheDemonstrationWithoutACounter(page, base, { tolerate }) {
  tolerate("status of 404");
  await page.route("**/demo/events/**", (route) => route.fulfill({ status: 404 }));
  await open(page, base);
  await page.locator("#demo").waitFor({ state: "hidden" });
}

export async function restsTheDemonstrationInTheBackground(page, base) {
  const counters = [];
  const ofCounter = (request) => request.url().includes("/demo/events/count");
  page.on("request", (request) => ofCounter(request) && counters.push(new URL(request.url())));
  await open(page, base);
  await until("a few ticks", async () => (await number(page, "#received")) >= 2);
  await Promise.all([page.waitForEvent("requestfailed", ofCounter), page.evaluate(becomes, "hidden")]);
  const [received, lastId] = [await number(page, "#received"), await page.textContent("#last-event-id")];
  await page.evaluate(becomes, "visible");
  await until("a further tick", async () => (await number(page, "#received")) > received);
  check(counters.at(-1).searchParams.get("last_event_id") === lastId, `${counters.at(-1)} does not continue after ${lastId}`);
  check((await page.textContent("#verdict")) === "Nothing missing, nothing twice.", await page.textContent("#verdict"));
}

/** Runs in the page, as if its tab went to the background or came back. */
function becomes(state) {
  Object.defineProperty(document, "hidden", { configurable: true, value: state === "hidden" });
  document.dispatchEvent(new Event("visibilitychange"));
}

/** The parser of the page, with a stream in all pieces of one size. */
export async function parsesAStreamInAnyPieces(page, base) {
  await open(page, base);
  const stream = "\uFEFFretry: 5\r\n: comment\r\ndata: a\r\ndata:b\rdata\nid: 1\n\n" +
    "event: t\ndata: ü\n\nid\nid: x\0y\ndata\n\nid: 2\n\ndata: lost";
  const parsed = await page.evaluate(async (text) => {
    const { Parser } = await import(new URL("console/parser.js", document.baseURI));
    return Array.from({ length: text.length }, (_, size) => {
      const parser = new Parser("0");
      const pieces = text.match(new RegExp(`[^]{1,${size + 1}}`, "g"));
      const found = pieces.flatMap((piece) => [...parser.push(piece)]);
      return JSON.stringify([...found, parser.lastEventId]);
    });
  }, stream.slice(1));
  const expected = JSON.stringify([
    { retry: 5 },
    { type: "message", data: "a\nb\n", lastEventId: "1" },
    { type: "t", data: "ü", lastEventId: "1" },
    { type: "message", data: "", lastEventId: "" },
    "2",
  ]);
  parsed.forEach((found, size) => check(found === expected, `in pieces of ${size + 1}: ${found}`));
  return { pieces: parsed.length };
}
