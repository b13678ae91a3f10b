// Server-Sent Events that resume exactly and do not die silently.
export { EventSource } from "./event_source.js";
export { StreamError, subscribe } from "./subscribe.js";
