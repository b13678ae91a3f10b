// A web site for tests: a page that runs the client, its modules, and a proxy to the hub that can be cut, or buffers streams.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, request as send } from "node:http";

const SOURCES = new URL("../../src/", import.meta.url);
const PAGE = new URL("page.js", import.meta.url);

/** `routes` maps further paths to steps as in `serve`. */
export async function startSite(t, hub, routes = {}) {
  const streams = new Set();
  const site = { most: 0, buffers: false, acceleration: undefined, scale: 1, accepted: [], streams, cut };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://site");
    const route = Object.keys(routes).find((name) => pathname.startsWith(name));
    if (route) routes[route](response, request);
    else if (pathname.startsWith("/events")) forward(request, response);
    else if (pathname.startsWith("/src/")) await give(response, "text/javascript", new URL(pathname.slice(5), SOURCES));
    else if (pathname === "/page.js") await give(response, "text/javascript", PAGE);
    else if (pathname !== "/") response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>");
    else response.writeHead(200, { "content-type": "text/html" }).end('<!doctype html><script type="module" src="/page.js"></script>');
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  site.base = `http://127.0.0.1:${server.address().port}`;
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return site;

  async function give(response, type, url) {
    const text = await readFile(url).catch(() => null);
    response.writeHead(text ? 200 : 404, { "content-type": type, "cache-control": "no-store" }).end(text);
  }

  function forward(request, response) {
    const { method, headers, url } = request;
    site.accepted.push(headers.accept);
    // Where the time of pages is faster than that of the hub, it waits for less.
    const target = url.replace(/\bwait=(\d+)ms/, (_, wait) => `wait=${Math.ceil(wait / site.scale)}ms`);
    const upstream = send(new URL(target, hub.base), { method, headers }, (answer) => {
      // nginx forwards chunks at once, and does not ask for them: the hub sends none to its HTTP/1.0.
      delete answer.headers["transfer-encoding"];
      delete answer.headers.connection;
      // Whether an nginx before this site buffers the response.
      if (site.acceleration) answer.headers["x-accel-buffering"] = site.acceleration;
      response.writeHead(answer.statusCode, answer.headers);
      // As some proxies do: the head at once, and the rest at the end.
      if (site.buffers && answer.headers["content-type"] === "text/event-stream") {
        response.flushHeaders();
        answer.resume();
      } else answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    upstream.on("error", () => response.headersSent ? response.destroy() : response.writeHead(502, { "content-type": "text/html" }).end("<h1>Bad Gateway</h1>"));
    request.pipe(upstream);
    streams.add(response);
    site.most = Math.max(site.most, streams.size);
    response.on("close", () => {
      streams.delete(response);
      upstream.destroy();
    });
  }

  /** Breaks all streams. */
  function cut() {
    for (const response of streams) response.destroy();
  }
}
