// server.mjs: sends EVENTS events of BYTES bytes to each request of /EVENTS/BYTES, as fast as the client reads them.
// Prints its port.
import { createServer } from "node:http";
import { Readable } from "node:stream";

const CHUNK = 65_536;

const server = createServer((request, response) => {
  const [, events, bytes] = request.url.split("/").map(Number);
  response.writeHead(200, { "content-type": "text/event-stream" });
  Readable.from(blocks(events, "x".repeat(bytes))).pipe(response, { end: false });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();

function* blocks(events, data) {
  let chunk = "";
  for (let at = 1; at <= events; at++) {
    chunk += `data: ${data}\nid: 18f2-${at}-5d1c\n\n`;
    if (chunk.length < CHUNK && at < events) continue;
    yield Buffer.from(chunk);
    chunk = "";
  }
}
