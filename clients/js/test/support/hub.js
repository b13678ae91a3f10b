// A hub for tests: the program that CARAFE names, or the one that Cargo has built.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { request as overHttp } from "node:http";
import { request as overTls } from "node:https";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PROGRAM = process.env.CARAFE ?? fileURLToPath(new URL("../../../../target/debug/carafe", import.meta.url));

export const hasHub = await access(PROGRAM).then(() => true, () => false);

/** Starts a hub on a port and a log that stay the same when it is killed and started again. */
export async function startHub(t, ...args) {
  const folder = await mkdtemp(join(tmpdir(), "carafe-client-"));
  const port = await freePort();
  const metrics = await freePort();
  const scheme = args.includes("--tls-cert") ? "https" : "http";
  const hub = { base: `${scheme}://127.0.0.1:${port}`, start, kill, publish, streams };
  let child;
  t.after(async () => {
    await kill();
    await rm(folder, { recursive: true, force: true });
  });
  await start();
  return hub;

  async function start() {
    child = spawn(PROGRAM, [...(args.length ? args : ["dev"]), "--listen", `127.0.0.1:${port}`, "--log", `disk:${join(folder, "log")}`, "--retry", "50ms", "--metrics-listen", `127.0.0.1:${metrics}`], {
      stdio: "ignore",
    });
    child.once("error", (error) => { throw error; });
    while (!(await accepts(port))) {
      if (child.exitCode !== null) throw new Error(`the hub has ended with ${child.exitCode}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async function kill() {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  /** Publishes events of the data `from`, `from + 1` and so on to a topic, and waits until they are stored. */
  async function publish(topic, from, count, headers = {}) {
    for (let at = from; at < from + count; at += 1000) {
      const lines = Array.from({ length: Math.min(1000, from + count - at) }, (_, index) => JSON.stringify({ topic, data: String(at + index) }));
      const { status, text } = await post(`${hub.base}/events`, lines.join("\n"), { "content-type": "application/x-ndjson", ...headers });
      if (status !== 201) throw new Error(`${status} ${text}`);
    }
  }

  /** The number of streams that clients have open. */
  async function streams() {
    const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
    return [...text.matchAll(/^carafe_streams\{.*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
  }
}

/** As `fetch`, which does not accept the certificate of a test. */
async function post(url, body, headers) {
  const send = url.startsWith("https") ? overTls : overHttp;
  const request = send(url, { method: "POST", headers, rejectUnauthorized: false }).end(body);
  const [response] = await once(request, "response");
  let text = "";
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode, text };
}

export function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => { socket.destroy(); resolve(true); });
    socket.on("error", () => resolve(false));
  });
}

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
