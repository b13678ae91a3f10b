// Stands for a language model: it takes about a minute for an answer, and costs money.
import { setTimeout as sleep } from "node:timers/promises";

/** The pause before each token. */
const PAUSE_MS = Number(process.env.MODEL_PAUSE_MS ?? 250);

const SENTENCES = [
  "Grind the beans fine, and as late as you can.",
  "Tamp them level: water finds every gap.",
  "Press hot water through them for half a minute.",
  "Taste it.\nIf it is sour, grind finer; if it is bitter, grind coarser.",
];

/** The whole answer, for those who want to compare. */
export function answerTo(question) {
  const rounds = Array.from({ length: 6 }, (_, round) => `\n\nCup ${round + 1}: ${SENTENCES.join(" ")}`);
  return `You ask “${question}”.${rounds.join("")}`;
}

/** Writes the answer token by token. */
export async function* model(question) {
  for (const token of answerTo(question).match(/\s*\S+/g)) {
    await sleep(PAUSE_MS);
    yield token;
  }
}
