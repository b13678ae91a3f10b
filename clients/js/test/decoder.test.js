// The decoder against byte streams, in every split.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";
import { createParser } from "eventsource-parser";
import { Decoder } from "../src/decoder.js";
import { SEED, cut, oddStream, oddText, random } from "./support/random.js";
import { interpret } from "./support/reference.js";

const CORPUS = new URL("../../../fuzz/corpus/decoder/", import.meta.url);
const bytesOf = (text) => (typeof text === "string" ? new TextEncoder().encode(text) : text);

function decode(chunks, id) {
  const decoder = new Decoder(id);
  const events = chunks.flatMap((chunk) => decoder.push(chunk));
  return { events, id: decoder.id, retry: decoder.retry };
}

/** Feeds `bytes` whole, byte by byte, and in every way to cut them in two. */
function checkSplits(bytes, expected, what) {
  const whole = bytesOf(bytes);
  assert.deepEqual(decode([...whole].map((byte) => Uint8Array.of(byte)), "seed"), expected, `${what}, byte by byte`);
  for (let at = 0; at <= whole.length; at++) {
    assert.deepEqual(decode([whole.subarray(0, at), whole.subarray(at)], "seed"), expected, `${what}, cut at ${at}`);
  }
}

/** Checks the events of a stream, each as [type, data, id] or its data, and that the standard says the same. */
function check(stream, ...expected) {
  const events = expected.map((event) => (typeof event === "string" ? ["message", event, "seed"] : event));
  const result = interpret(bytesOf(stream), "seed");
  assert.deepEqual(result.events.map(({ type, data, id }) => [type, data, id]), events, JSON.stringify(stream));
  checkSplits(stream, result, JSON.stringify(stream));
}

test("every line break of the standard ends a line", () => {
  for (const lineBreak of ["\n", "\r", "\r\n"]) {
    check("data: a,data: b,,data: c,,".replaceAll(",", lineBreak), "a\nb", "c");
  }
  check("data: a\r\ndata: b\rdata: c\n\r\ndata: d\r\r\n", "a\nb\nc", "d");
  check("data: a\n\rdata: b\n\r", "a", "b");
  check("data: a\u2028b\u0085c\n\n", "a\u2028b\u0085c");
});

test("a CR at the end of a chunk ends its line at once", () => {
  const decoder = new Decoder();
  const feed = (text) => decoder.push(bytesOf(text)).map(({ data }) => data);
  assert.deepEqual(feed("data: a\r\r"), ["a"]);
  assert.deepEqual(feed("\n"), []);
  assert.deepEqual(feed(""), []);
  assert.deepEqual(feed("data: b\r"), []);
  assert.deepEqual(feed("\n\r"), ["b"]);
});

test("one byte order mark at the very start is removed", () => {
  check("\ufeffdata: a\n\n", "a");
  check("\ufeff\ufeffdata: a\n\n");
  check("data: \ufeffa\n\n", "\ufeffa");
  check(Buffer.from([0xef, 0xbb, ...bytesOf("data: a\n\ndata: b\n\n")]), "b");
});

test("fields have exact names, and one space after the colon is removed", () => {
  check("data:a\ndata: b\ndata:  c\ndata\ndata : d\n\n", "a\nb\n c\n");
  check("Data: a\n data: b\ndatum: c\ndat: d\ndataa: e\nretryy: 5\n\n");
  check("data: a: b\ndata::c\n\n", "a: b\n:c");
  check(": data: a\n\n");
  check("event: a\nevent\ndata\n\n", "");
});

test("the ID is committed at the blank line, also without data", () => {
  check("id: 7\n\ndata: a\n\n", ["message", "a", "7"]);
  check("data: a\n\nid: 7\ndata: b\n", "a");
  check("id: 7\ndata: a\n\nid\ndata: b\n\n", ["message", "a", "7"], ["message", "b", ""]);
  assert.equal(decode([bytesOf("id: 7\ndata: a\n")], "seed").id, "seed");
});

test("an ID with NUL is ignored", () => {
  check("id: 7\nid: 8\0\ndata: a\n\n", ["message", "a", "7"]);
  check("id: \0\ndata: \0\n\n", "\0");
});

test("retry takes ASCII digits only", () => {
  for (const [text, retry] of [["5", 5], ["007", 7], ["0", 0], ["", undefined], ["-1", undefined], ["1.5", undefined], ["٣", undefined], ["5 ", undefined]]) {
    checkSplits(`retry: ${text}\n`, { events: [], id: "seed", retry }, text);
  }
});

test("invalid UTF-8 is replaced as in the whole stream", () => {
  check(Buffer.from([...bytesOf("data: "), 0xe2, 0x0a, ...bytesOf("data: "), 0x82, 0xff, 0x0a, 0x0a]), "\ufffd\n\ufffd\ufffd");
});

test("a long line in many chunks is read once", () => {
  const data = "x".repeat(4 << 20);
  const bytes = bytesOf(`data: ${data}\n\n`);
  const chunks = Array.from({ length: bytes.length / 16 + 1 }, (_, at) => bytes.subarray(at * 16, at * 16 + 16));
  const { events } = decode(chunks);
  assert.equal(events.length, 1);
  assert.ok(events[0].data === data, "the event came out altered");
});

test("the fuzz corpus of the hub's decoder decodes by the standard at every split", async () => {
  const names = await readdir(CORPUS);
  assert.ok(names.length >= 30, `only ${names.length} streams`);
  for (const name of names) {
    const bytes = await readFile(new URL(name, CORPUS));
    checkSplits(bytes, interpret(bytes, "seed"), name);
  }
});

test("10,000 generated streams decode by the standard in any split", (t) => {
  t.diagnostic(`SEED=${SEED}`);
  const source = random(SEED);
  for (let stream = 0; stream < 10_000; stream++) {
    const bytes = oddStream(source);
    const chunks = cut(bytes, source);
    assert.deepEqual(decode(chunks, "seed"), interpret(bytes, "seed"), `SEED=${SEED}, stream ${stream}: ${JSON.stringify(bytes.toString("latin1"))}`);
  }
});

test("10,000 generated streams decode as eventsource-parser decodes them", (t) => {
  t.diagnostic(`SEED=${SEED}`);
  const source = random(SEED);
  for (let stream = 0; stream < 10_000; stream++) {
    const bytes = oddText(source);
    const found = decode(cut(bytes, source)).events;
    assert.deepEqual(found, parse(bytes.toString()), `SEED=${SEED}, stream ${stream}: ${JSON.stringify(bytes.toString())}`);
  }
});

/** That parser tells the ID of a block only, and the last event ID is that of the last block that had one. */
function parse(text) {
  const events = [];
  let last = "";
  const parser = createParser({
    onId: (id) => { last = id; },
    onEvent: ({ event, data }) => events.push({ type: event ?? "message", data, id: last }),
  });
  parser.feed(text);
  return events;
}

test("an event of more than 64 Mi characters is an error, in one line or in many", () => {
  const line = "x".repeat(2 ** 20);
  for (const text of [line, `data:${line}\n`]) {
    const decoder = new Decoder();
    decoder.push(new TextEncoder().encode("data:"));
    const bytes = new TextEncoder().encode(text);
    const push = () => { for (let at = 0; at < 66; at++) decoder.push(bytes); };
    assert.throws(push, { name: "RangeError", reason: "too-large" });
  }
});
