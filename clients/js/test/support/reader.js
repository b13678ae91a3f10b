// reader.js URL
//
// Prints the data of a stream, and its last state. Runs in Node, Deno and Bun.
import { subscribe } from "../../src/index.js";

const url = globalThis.Deno?.args[0] ?? globalThis.process.argv[2];
const subscription = subscribe(url);
for await (const { data } of subscription) console.log(data);
console.log(subscription.state.name, subscription.state.reason);
