// Feeds the tokens of an answer to a topic of the hub, over one request that stays open. It survives lost connections
// and restarts of the hub, and never asks the model again.
import { setTimeout as sleep } from "node:timers/promises";

/** How long to wait before the hub is asked again. */
const RETRY_MS = 500;

/** The tokens that a model has written so far. The model does not wait for the hub. */
class Answer {
  tokens = [];
  isComplete = false;
  isStopped = false;
  #changed = deferred();

  /** Takes tokens until the model has no more, or `isOver` says so after a stop. */
  async write(model, isOver) {
    for await (const token of model) {
      if (this.isStopped && isOver()) break;
      this.tokens.push(token);
      this.#wake();
    }
    this.isComplete = true;
    this.#wake();
  }

  /** The tokens from this one on, as they are written. */
  async *from(next) {
    for (;;) {
      while (next < this.tokens.length) yield { id: next, token: this.tokens[next++] };
      if (this.isComplete || this.isStopped) return;
      await this.#changed.promise;
    }
  }

  stop() {
    this.isStopped = true;
    this.#wake();
  }

  #wake() {
    this.#changed.resolve();
    this.#changed = deferred();
  }
}

function deferred() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

/**
 * Stores all tokens of the model in the topic, and then its end. `hub` has the URL of the topic and headers.
 *
 * When somebody asks to stop, nothing more is taken from the model. If it has to be told, and has last words, give
 * `onStop`: the model is then expected to end by itself.
 */
export async function produce(model, hub, { onStop } = {}) {
  const answer = new Answer();
  const written = answer.write(model, () => !onStop);
  for (let next = 0; !(await feed(answer, next, hub)); ) {
    await sleep(RETRY_MS);
    next = await nextToken(hub);
  }
  if (answer.isStopped) {
    onStop?.();
    await written;
    await sendRest(answer, hub);
  }
  await end(answer.isStopped ? "cancelled" : "done", hub);
}

/** Sends the tokens from this one on; `false` if the connection was lost. */
async function feed(answer, next, { url, headers }) {
  const body = ReadableStream.from(lines(answer.from(next))).pipeThrough(new TextEncoderStream());
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { ...headers, "content-type": "application/x-ndjson" },
      body,
      // The response comes at the end, or when somebody wants the producer to stop.
      duplex: "half",
    });
    if (response.status === 409) return true; // It has ended: the answer to the first attempt was lost.
    const outcome = await response.json();
    if (outcome.stop) answer.stop();
    return response.ok;
  } catch {
    return false;
  }
}

/** Sends what the model has written after the stop. A request that stays open would be answered at once again. */
async function sendRest(answer, { url, headers }) {
  for (let next = await nextToken({ url, headers }); next < answer.tokens.length; ) {
    const query = new URLSearchParams({ id: next });
    const body = answer.tokens[next];
    const response = await fetch(`${url}?${query}`, { method: "POST", headers, body }).catch(() => null);
    if (response?.status === 409) return;
    if (response?.ok) next += 1;
    else await sleep(RETRY_MS);
  }
}

/** Each token is an event. Its number is the idempotency key: what is sent twice is stored once. */
async function* lines(tokens) {
  for await (const { id, token } of tokens) yield `${JSON.stringify({ id: String(id), data: token })}\n`;
}

/** The number of the first token that the hub does not have. */
async function nextToken({ url, headers }) {
  for (;;) {
    const response = await fetch(url, { method: "HEAD", headers }).catch(() => null);
    const last = response?.headers.get("carafe-last-key");
    if (response?.ok) return last === null ? 0 : Number(last) + 1;
    await sleep(RETRY_MS);
  }
}

async function end(outcome, { url, headers }) {
  for (;;) {
    const response = await fetch(`${url}?end=${outcome}`, { method: "POST", headers }).catch(() => null);
    if (response?.ok || response?.status === 409) return;
    await sleep(RETRY_MS);
  }
}
