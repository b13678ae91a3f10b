// A chat with a language model. Each answer is a topic of a Carafe hub: the model writes it once, whatever happens to
// the pages that read it.
//
//   openssl rand -hex 32 > carafe.secret && chmod 600 carafe.secret
//   carafe serve --secret-file carafe.secret --anonymous subscribe --allow-origin http://127.0.0.1:8080
//   CARAFE_SECRET=$(cat carafe.secret) node examples/llm/server.js
//
// Then open http://127.0.0.1:8080, ask, and reload the page, open it twice, press stop, or restart the hub.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";

import { model } from "./model.js";
import { produce } from "./producer.js";
import { sign } from "./token.js";

const HUB = process.env.CARAFE_URL ?? "http://127.0.0.1:3000";
const PORT = Number(process.env.PORT ?? 8080);
const SECRET = process.env.CARAFE_SECRET;
if (!SECRET) throw new Error("set CARAFE_SECRET to the secret of the hub");

const page = (await readFile(new URL("page.html", import.meta.url), "utf8")).replaceAll("{{HUB}}", HUB);

/** The topic of an answer, and what this server needs to feed and to stop it. */
function topic(id) {
  const token = sign({ publish: ["answers/*"], stop: ["answers/*"] }, SECRET);
  return { url: `${HUB}/events/answers/${id}`, headers: { authorization: `Bearer ${token}` } };
}

/** Starts an answer. No page has to wait for it. */
function ask(question) {
  const id = randomUUID();
  console.log(`the model answers ${id}`);
  produce(model(question), topic(id)).then(
    () => console.log(`the answer ${id} has ended`),
    (error) => console.error(`the answer ${id} has failed: ${error.stack}`),
  );
  return id;
}

/** Asks the producer of an answer to stop, wherever it runs. */
async function stop(id) {
  const { url, headers } = topic(id);
  const response = await fetch(`${url}?stop`, { method: "POST", headers });
  return response.ok;
}

createServer(async (request, response) => {
  const [, answers, id, action] = new URL(request.url, "http://localhost").pathname.split("/");
  const is = (method, ...path) => request.method === method && [answers, id, action].join() === path.join();
  try {
    if (request.method === "GET" && !answers) {
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
    } else if (is("POST", "answers", undefined, undefined)) {
      response.writeHead(201, { "content-type": "text/plain" }).end(ask(await text(request)));
    } else if (id && is("POST", "answers", id, "stop")) {
      response.writeHead((await stop(id)) ? 204 : 502).end();
    } else {
      response.writeHead(404).end();
    }
  } catch (error) {
    console.error(error.stack);
    response.writeHead(502).end();
  }
}).listen(PORT, "127.0.0.1", function () {
  console.log(`listening on http://127.0.0.1:${this.address().port}`);
});
