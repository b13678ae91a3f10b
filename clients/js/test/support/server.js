// A server that answers each request by the next step of a script.
import { once } from "node:events";
import { createServer } from "node:http";

/**
 * Starts a server for one test. Each step is `(response, request) => …`; the last step answers all further requests.
 * `requests` has the method, headers, URL and body of each.
 */
export async function serve(t, ...steps) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const { method, headers, url } = request;
    let body = "";
    for await (const chunk of request) body += chunk;
    const step = steps[Math.min(requests.push({ method, headers, url, body }), steps.length) - 1];
    step(response, request);
  });
  // Else Node's client keeps the connection, and times it by the timers that the next test may have replaced.
  server.keepAliveTimeout = 1;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${server.address().port}/events`, requests, server };
}

/** A stream with this text. It stays open unless `end` is given. */
export function stream(text, end) {
  return (response) => {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(text);
    if (end) response.end();
  };
}

/** A stream with this text that breaks without an end, when the test says so: what has arrived by then may be dropped if nobody has read it. */
export function broken(text) {
  let response;
  return {
    step: (one) => stream(text)((response = one)),
    break: () => response.destroy(),
  };
}

export function status(code, headers = {}, body = "") {
  return (response) => response.writeHead(code, headers).end(body);
}

/** Ends the stream for good. */
export const done = status(204);
