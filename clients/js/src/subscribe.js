// A stream as an async iterator.
import { Stream } from "./stream.js";

/** Why a stream has ended that the client wanted. */
export class StreamError extends Error {
  name = "StreamError";

  constructor({ reason, status, response }) {
    super(`the stream has ended: ${reason}${status ? ` ${status}` : ""}`);
    Object.assign(this, { reason, status, response });
  }
}

/** Opens a stream. Iterate over the result once. */
export function subscribe(url, options = {}) {
  let batch = [];
  let delivered = () => {};
  let changed = () => {};
  const stream = new Stream(url, options, (events) => new Promise((resolve) => {
    batch = events;
    delivered = resolve;
    changed();
  }), (state) => {
    options.onState?.(state);
    if (state.name !== "ended") return;
    changed();
    delivered();
  });
  const events = iterate();
  return {
    get state() { return stream.state; },
    get lastEventId() { return stream.position.id; },
    close: () => stream.close(),
    [Symbol.asyncIterator]: () => events,
  };

  async function* iterate() {
    try {
      for (;;) {
        for (const event of batch) {
          if (stream.state.reason === "aborted") return;
          const control = asControl(event);
          if (control) options.onControl?.(control);
          try {
            if (!control || options.controls) yield control ?? event;
          } finally {
            // The loop asks for the next event, or ends: it has handled this one.
            stream.position.commit(event.id);
          }
        }
        batch = [];
        delivered();
        await new Promise((resolve) => {
          changed = resolve;
          if (batch.length || stream.state.name === "ended") resolve();
        });
        if (!batch.length) return check(stream.state);
      }
    } finally {
      stream.close();
    }
  }
}

function check(state) {
  if (state.reason !== "done" && state.reason !== "aborted") throw new StreamError(state);
}

/** A report of the hub itself: gap, end, stop, expired, position, heartbeat. */
function asControl({ type, data, id }) {
  if (type.startsWith("carafe.")) return { ...JSON.parse(data), control: type.slice(7), id };
}
