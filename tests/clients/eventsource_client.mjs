// The npm package `eventsource-client`, which reconnects by itself.
import { createEventSource } from "eventsource-client";
import { show, url } from "./reader.mjs";

for await (const { event, id, data } of createEventSource({ url })) show({ type: event ?? "message", id, data });
