// Reads COUNT events from URL with the stream decoder of each SDK, and prints what each has made of them, as one line
// of JSON: {"decoder":…,"values":[…]}. Each parses the data of every event as JSON.
import { parseJsonEventStream } from "@ai-sdk/provider-utils";
import { Stream as AnthropicStream } from "@anthropic-ai/sdk/core/streaming";
import { Stream as OpenAiStream } from "openai/core/streaming";

const [url, count] = process.argv.slice(2);
setTimeout(() => fail("not done after 60 s"), 60_000).unref();

const decoders = {
  openai: (answer, controller) => OpenAiStream.fromSSEResponse(answer, controller),
  anthropic: (answer, controller) => AnthropicStream.fromSSEResponse(answer, controller),
  "ai-sdk": (answer) => parsed(parseJsonEventStream({ stream: answer.body, schema: anything })),
};
const anything = { "~standard": { version: 1, vendor: "carafe", validate: (value) => ({ value }) } };

for (const [decoder, decode] of Object.entries(decoders)) {
  const controller = new AbortController();
  const answer = await fetch(url, { signal: controller.signal });
  if (!answer.ok) fail(`refused: ${answer.status} ${await answer.text()}`);
  const values = [];
  for await (const value of decode(answer, controller)) {
    if (values.push(value) === Number(count)) break;
  }
  controller.abort();
  console.log(JSON.stringify({ decoder, values }));
}
process.exit(0);

async function* parsed(stream) {
  for await (const { success, value, error } of stream) {
    if (!success) throw error;
    yield value;
  }
}

function fail(reason) {
  console.error(`sdk_decoders.mjs: ${reason}`);
  process.exit(1);
}
