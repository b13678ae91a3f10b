// The ways between Chromium and a hub that the scenarios run over.
import { test } from "node:test";
import { skip } from "./chromium.js";
import { startHub } from "./hub.js";
import { skipNginx, startNginx } from "./nginx.js";
import { startSite } from "./site.js";
import { makeCertificate, skipCertificate } from "./certificate.js";
import { startWire } from "./wire.js";

const PATH = "/events/orders";
export const OPEN = ["serve", "--anonymous", "publish", "--anonymous", "subscribe"];

/**
 * `start(t, args, routes)` starts a hub and a site whose pages reach it. `url` is that of the stream, for pages of `base`,
 * and `options` are those that the network asks for. `cut` breaks all connections, and `streams` counts the open requests.
 */
export const NETWORKS = [
  { name: "HTTP/1.1", skip: false, start: startPlain },
  { name: "TLS with HTTP/2", skip: skipCertificate, start: startSecure },
  { name: "nginx that buffers", skip: skipNginx, start: startBuffering },
];

/** A test of `run(t, network)` for each. */
export function overEachNetwork(what, run) {
  for (const network of NETWORKS) {
    test(`${what}, over ${network.name}`, { skip: skip || network.skip }, (t) => run(t, network));
  }
}

async function startPlain(t, args = OPEN, routes) {
  const hub = await startHub(t, ...args);
  const site = await startSite(t, hub, routes);
  return { hub, site, base: site.base, url: PATH, options: {}, cut: site.cut, streams: () => site.streams.size };
}

/** The hub itself speaks TLS. Its origin is not that of the page. */
async function startSecure(t, args = OPEN, routes) {
  const { certificate, key } = await makeCertificate(t);
  const hub = await startHub(t, ...args, "--allow-origin", "http://127.0.0.1:*", "--tls-cert", certificate, "--tls-key", key);
  const wire = await startWire(t, hub);
  const site = await startSite(t, hub, routes);
  return { hub, base: site.base, url: wire.base + PATH, options: {}, cut: wire.cut, streams: hub.streams };
}

/** nginx holds back the head of a stream as well, until its buffer is full. So without heartbeats, a burst comes in part. */
async function startBuffering(t, args = OPEN, routes) {
  const hub = await startHub(t, ...args);
  const site = await startSite(t, hub, routes);
  site.acceleration = "yes";
  const base = await startNginx(t, site.base);
  return { hub, site, base, url: PATH, options: { fallback: 300, heartbeat: 1000 }, cut: site.cut, streams: () => site.streams.size };
}
