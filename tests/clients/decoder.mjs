// decoder.mjs
//
// Decodes streams with the decoder of carafe-client. Each line of standard input is a JSON array of chunks in base64;
// each line of the output is what they decode to.
import { createInterface } from "node:readline";
import { Decoder } from "../../clients/js/src/decoder.js";

for await (const line of createInterface({ input: process.stdin })) {
  const decoder = new Decoder("seed");
  const events = JSON.parse(line).flatMap((chunk) => decoder.push(Buffer.from(chunk, "base64")));
  console.log(JSON.stringify({ events, id: decoder.id, retry: decoder.retry ?? null }));
}
