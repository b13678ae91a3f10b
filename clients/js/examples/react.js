// A hook for React: copy it into your app.
import { useEffect, useState } from "react";
import { subscribe } from "carafe-client";

const NOTHING = { events: [], state: { name: "connecting" }, error: undefined };

/** The newest `limit` events of a stream, its state, and why it has failed. `options` holds for as long as `url` does. */
export function useStream(url, { limit = 100, ...options } = {}) {
  const [stream, setStream] = useState(NOTHING);
  useEffect(() => {
    setStream(NOTHING);
    const change = (part) => setStream((stream) => ({ ...stream, ...part }));
    const add = (event) => setStream((stream) => ({ ...stream, events: [...stream.events, event].slice(-limit) }));
    const subscription = subscribe(url, { ...options, onState: (state) => change({ state }) });
    readAll(subscription, add).catch((error) => change({ error }));
    return () => subscription.close();
  }, [url]);
  return stream;
}

async function readAll(subscription, add) {
  for await (const event of subscription) add(event);
}
