// What the programs here share: each reads COUNT ordinary events from URL and prints one line of JSON for each, and for
// each of the hub's own events among them.
import { basename } from "node:path";

export const OWN = ["carafe.position", "carafe.gap", "carafe.end", "carafe.expired", "carafe.heartbeat"];
const LIMIT_MS = 300_000;

const name = basename(process.argv[1]);
const [url, count] = process.argv.slice(2);
if (!url || !(Number(count) > 0)) fail(`usage: ${name} URL COUNT`, 2);

let left = Number(count);
setTimeout(() => fail(`${left} events had not come after ${LIMIT_MS / 1000} s`), LIMIT_MS);

export { url };

/** Prints an event, and ends the program after the last. */
export function show({ type, id, data }) {
  const line = `${JSON.stringify({ type, id, data })}\n`;
  const isLast = !OWN.includes(type) && --left === 0;
  // A pipe takes a long line in parts: the program ends when it has taken all.
  process.stdout.write(line, () => isLast && process.exit(0));
}

export function fail(reason, status = 1) {
  console.error(`${name}: ${reason}`);
  process.exit(status);
}
