// bench.mjs [ROUNDS]
//
// Throughput of clients in Node, beside each other: the median of some rounds, in which they take turns. It goes by the
// processor time of this process, which other programs and the server do not change.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { READERS } from "./readers.mjs";

const SHAPES = [{ bytes: 50, events: 400_000 }, { bytes: 1000, events: 100_000 }, { bytes: 100_000, events: 3000 }];
const rounds = Number(process.argv[2] ?? 5);

const server = spawn(process.execPath, [fileURLToPath(new URL("server.mjs", import.meta.url))], { stdio: ["pipe", "pipe", "inherit"] });
const [port] = await once(server.stdout, "data");
const base = `http://127.0.0.1:${String(port).trim()}`;
for (const { bytes, events } of SHAPES) {
  const times = await measure(`${base}/${events}/${bytes}`, events);
  console.log(`\n${events} events of ${bytes} bytes`);
  for (const [name, all] of Object.entries(times)) print(name, all.sort((a, b) => a - b), { bytes, events });
}
server.stdin.end();

async function measure(url, events) {
  const times = Object.fromEntries(Object.keys(READERS).map((name) => [name, []]));
  for (let round = -1; round < rounds; round++) {
    for (const [name, read] of Object.entries(READERS)) {
      const start = process.cpuUsage();
      await read(url, events);
      const { user, system } = process.cpuUsage(start);
      // The first round compiles.
      if (round >= 0) times[name].push((user + system) / 1e6);
    }
  }
  return times;
}

function print(name, sorted, { bytes, events }) {
  const [least, median, most] = [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)];
  const rate = Math.round(events / median).toLocaleString("en");
  console.log(`${name.padEnd(28)} ${rate.padStart(10)} events/s ${(events * bytes / median / 1e6).toFixed(0).padStart(6)} MB/s   (${least.toFixed(2)} to ${most.toFixed(2)} s)`);
}
