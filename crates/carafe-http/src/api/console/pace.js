// Work in small steps. A test reads what the largest step was.

/** The most that was done at once since the page was opened. */
export const largest = { slice: 0, rows: 0, scanned: 0 };

export function count(what, amount) {
  largest[what] = Math.max(largest[what], amount);
}

const waiting = [];
const channel = new MessageChannel();
channel.port1.onmessage = () => waiting.shift()();

/** Continues in a task of its own. Unlike a timer, that is not delayed in the background. */
export function nextTask() {
  return new Promise((resolve) => {
    waiting.push(resolve);
    channel.port2.postMessage(null);
  });
}
