// client.mjs URL CERTIFICATE PROTOCOL
//
// Reads a stream over TLS with Node's own modules. Prints "open" after the first event, the data of each further
// event, and "end" when the server has ended the stream in order. PROTOCOL is http/1.1, tls1.2 or h2.
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import https from "node:https";
import { createInterface } from "node:readline";

const [url, certificate, protocol] = process.argv.slice(2);
const tls = { ca: readFileSync(certificate), maxVersion: protocol === "tls1.2" ? "TLSv1.2" : "TLSv1.3" };
if (protocol === "h2") overHttp2();
else https.get(url, { ...tls, ALPNProtocols: ["http/1.1"] }, read).on("error", fail);

function overHttp2() {
  const session = http2.connect(url, tls).on("error", fail);
  const { pathname, search } = new URL(url);
  const stream = session.request({ ":path": pathname + search }).on("error", fail);
  stream.on("end", () => session.close());
  read(stream);
}

function read(body) {
  body.on("error", fail);
  body.on("aborted", () => fail(new Error("the stream broke off")));
  let isOpen = false;
  const lines = createInterface({ input: body });
  lines.on("line", (line) => {
    if (!line.startsWith("data: ")) return;
    console.log(isOpen ? line.slice(6) : "open");
    isOpen = true;
  });
  body.on("end", () => console.log("end"));
}

function fail(error) {
  console.error(error);
  process.exit(1);
}
