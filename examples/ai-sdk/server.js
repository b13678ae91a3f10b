// A chat with the AI SDK. The server pipes each answer into a topic of a Carafe hub, and pages resume from there: there
// is no Redis, no table of active streams and no endpoint to resume.
//
//   openssl rand -hex 32 > carafe.secret && chmod 600 carafe.secret
//   carafe serve --secret-file carafe.secret --anonymous subscribe --allow-origin http://127.0.0.1:8081
//   npm install --prefix examples/ai-sdk
//   CARAFE_SECRET=$(cat carafe.secret) node examples/ai-sdk/server.js
//
// Then open http://127.0.0.1:8081.
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

import { convertToModelMessages, generateId, streamText } from "ai";
import { build } from "esbuild";

import { produce } from "../llm/producer.js";
import { sign } from "../llm/token.js";
import { model } from "./model.js";

const HUB = process.env.CARAFE_URL ?? "http://127.0.0.1:3000";
const PORT = Number(process.env.PORT ?? 8081);
const SECRET = process.env.CARAFE_SECRET;
if (!SECRET) throw new Error("set CARAFE_SECRET to the secret of the hub");

/** The complete messages of each chat. An app keeps them in its database. */
const chats = new Map();

const messagesOf = (chat) => chats.get(chat) ?? [];
const questions = (messages) => messages.filter(({ role }) => role === "user").length;

/** The topic of the answer to the last question, and what this server needs to feed and to stop it. */
function topic(chat) {
  const token = sign({ publish: ["chat/*"], stop: ["chat/*"] }, SECRET);
  const url = `${HUB}/events/chat/${encodeURIComponent(chat)}/${questions(messagesOf(chat))}`;
  return { url, headers: { authorization: `Bearer ${token}` } };
}

/** Answers the message: to the page that has sent it, and to the hub for all others. */
async function answer(chat, message, response) {
  const messages = [...messagesOf(chat), message];
  chats.set(chat, messages);
  const abort = new AbortController();
  const result = streamText({
    model,
    messages: await convertToModelMessages(messages),
    abortSignal: abort.signal,
  });
  result.pipeUIMessageStreamToResponse(response, {
    originalMessages: messages,
    generateMessageId: generateId,
    onFinish: ({ responseMessage }) => chats.set(chat, [...messages, responseMessage]),
    // A page that leaves does not end the answer: this reads it to the end.
    consumeSseStream: ({ stream }) => {
      produce(dataOf(stream), topic(chat), { onStop: () => abort.abort() }).catch((error) =>
        console.error(`the answer has failed: ${error.stack}`),
      );
    },
  });
}

/** The data of each block, as the AI SDK has written it. */
async function* dataOf(stream) {
  for await (const block of stream) {
    const data = block.match(/^data: (.*)\n\n$/s)?.[1];
    if (data !== undefined) yield data;
  }
}

async function stop(chat) {
  const { url, headers } = topic(chat);
  const response = await fetch(`${url}?stop`, { method: "POST", headers });
  return response.ok;
}

const page = await build({
  entryPoints: [fileURLToPath(new URL("page.jsx", import.meta.url))],
  bundle: true,
  write: false,
  minify: true,
  format: "esm",
  jsx: "automatic",
  define: { "process.env.NODE_ENV": '"production"', HUB: JSON.stringify(HUB) },
});
const html = '<!doctype html><meta charset="utf-8"><title>Chat</title><div id="root"></div><script type="module" src="/page.js"></script>';

createServer(async (request, response) => {
  const [, first, chat, action] = new URL(request.url, "http://localhost").pathname.split("/");
  const send = (type, body) => response.writeHead(200, { "content-type": type }).end(body);
  try {
    if (request.method === "GET" && !first) send("text/html; charset=utf-8", html);
    else if (request.method === "GET" && first === "page.js") send("text/javascript", page.outputFiles[0].text);
    else if (request.method === "GET" && first === "chats" && chat) {
      send("application/json", JSON.stringify(messagesOf(chat)));
    } else if (request.method === "POST" && first === "chats" && chat && !action) {
      await answer(chat, (await json(request)).message, response);
    } else if (request.method === "POST" && first === "chats" && action === "stop") {
      response.writeHead((await stop(chat)) ? 204 : 502).end();
    } else response.writeHead(404).end();
  } catch (error) {
    console.error(error.stack);
    response.writeHead(502).end();
  }
}).listen(PORT, "127.0.0.1", function () {
  console.log(`listening on http://127.0.0.1:${this.address().port}`);
});
