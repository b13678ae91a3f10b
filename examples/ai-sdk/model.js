// Stands for a language model of a provider: its answer takes about a minute.
import { setTimeout as sleep } from "node:timers/promises";

import { MockLanguageModelV3 } from "ai/test";

import { answerTo } from "../llm/model.js";

const PAUSE_MS = Number(process.env.MODEL_PAUSE_MS ?? 250);

const usage = {
  inputTokens: { total: 0, noCache: 0, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 0, text: 0, reasoning: 0 },
};

async function* parts(question, abortSignal) {
  yield { type: "stream-start", warnings: [] };
  yield { type: "text-start", id: "0" };
  for (const delta of answerTo(question).match(/\s*\S+/g)) {
    await sleep(PAUSE_MS, undefined, { signal: abortSignal });
    yield { type: "text-delta", id: "0", delta };
  }
  yield { type: "text-end", id: "0" };
  yield { type: "finish", finishReason: { unified: "stop", raw: "stop" }, usage };
}

/** A model that answers the last question of the prompt. */
export const model = new MockLanguageModelV3({
  doStream: async ({ prompt, abortSignal }) => {
    const question = prompt.at(-1).content.map(({ text }) => text).join("");
    console.log("the model is called");
    return { stream: ReadableStream.from(parts(question, abortSignal)) };
  },
});
