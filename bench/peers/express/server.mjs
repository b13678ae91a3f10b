// The tutorial for event streams with Express, grown to many streams: res.write in a loop.

import express from "express";

const app = express();
const streams = new Set();

app.get("/events/bench", (req, res) => {
  res.set({ "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  res.flushHeaders();
  streams.add(res);
  req.on("close", () => streams.delete(res));
});

app.post("/events/bench", express.text({ type: () => true, limit: "16mb" }), (req, res) => {
  for (const stream of streams) {
    stream.write(`data: ${req.body}\n\n`);
  }
  res.sendStatus(204);
});

const server = app.listen(0, "127.0.0.1", () => {
  console.error(`listening on http://127.0.0.1:${server.address().port}`);
});
