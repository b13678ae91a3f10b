import type { StreamEvent } from "./index.js";

/** Decodes one event stream: WHATWG HTML, "Server-sent events". */
export class Decoder {
  /** `id` is the last event ID of the stream before, if there was one. */
  constructor(id?: string);
  /** The last event ID of the blocks that have ended. */
  id: string;
  /** The server's reconnection time in milliseconds, once it has sent one. */
  retry?: number;
  /** Returns the events that `bytes` complete. */
  push(bytes: Uint8Array): StreamEvent[];
}
