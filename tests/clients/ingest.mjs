// Sends standard input as the body of a request, as it arrives, and prints the answer.
//
//     node ingest.mjs URL CONTENT_TYPE

import { Readable } from "node:stream";

const [url, type] = process.argv.slice(2);
const answer = await fetch(url, {
  method: "POST",
  headers: { "Content-Type": type },
  body: Readable.toWeb(process.stdin),
  duplex: "half",
});
console.log(answer.status, await answer.text());
// The body may still be open.
process.exit(0);
