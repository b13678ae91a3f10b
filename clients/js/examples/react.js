// A hook for React: copy it into your app.
import { useEffect, useState } from "react";
import { subscribe } from "carafe-client";

/**
 * @typedef {object} Stream
 * @property {import("carafe-client").StreamEvent[]} events The newest, up to the limit.
 * @property {import("carafe-client").StreamState} state
 * @property {unknown} error Why the stream has failed.
 */

/** @type {Stream} */
const NOTHING = { events: [], state: { name: "connecting" }, error: undefined };

/**
 * The newest `limit` events of a stream, its state, and why it has failed. `options` holds for as long as `url` does.
 *
 * @param {string} url
 * @param {import("carafe-client").SubscribeOptions & { limit?: number }} [options]
 */
export function useStream(url, { limit = 100, ...options } = {}) {
  const [stream, setStream] = useState(NOTHING);
  useEffect(() => {
    let isCurrent = true;
    setStream(NOTHING);
    /** @param {(stream: Stream) => Partial<Stream>} part */
    const change = (part) => isCurrent && setStream((stream) => ({ ...stream, ...part(stream) }));
    const subscription = subscribe(url, { ...options, onState: (state) => change(() => ({ state })) });
    (async () => {
      for await (const event of subscription) change(({ events }) => ({ events: [...events, event].slice(-limit) }));
    })().catch((error) => change(() => ({ error })));
    return () => {
      // The end that follows is not one of the next stream.
      isCurrent = false;
      subscription.close();
    };
  }, [url]);
  return stream;
}
