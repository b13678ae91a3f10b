// A channel of better-sse with many sessions.

import express from "express";
import { createChannel, createSession } from "better-sse";

const app = express();
const channel = createChannel();

app.get("/events/bench", async (req, res) => {
  channel.register(await createSession(req, res, { serializer: String }));
});

app.post("/events/bench", express.text({ type: () => true, limit: "16mb" }), (req, res) => {
  channel.broadcast(req.body);
  res.sendStatus(204);
});

const server = app.listen(0, "127.0.0.1", () => {
  console.error(`listening on http://127.0.0.1:${server.address().port}`);
});
