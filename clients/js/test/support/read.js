// Helpers of tests that read streams.
import { subscribe } from "../../src/index.js";

export const skipUncaught = globalThis.Bun ? "skipped: in Bun, an uncaught error fails the test that listens for it" : false;

/** Reads until the stream ends or `count` events are there. Returns the data, the states and the controls. */
export async function read(url, { onEvent, ...options } = {}, count = Infinity) {
  const seen = { data: [], ids: [], states: [], controls: [], error: undefined };
  const subscription = subscribe(url, {
    retry: 1, ...options,
    onState: (state) => { seen.states.push(state); options.onState?.(state); },
    onControl: (control) => seen.controls.push(control),
  });
  seen.subscription = subscription;
  try {
    for await (const event of subscription) {
      seen.data.push(event.data);
      seen.ids.push(event.id);
      onEvent?.(event);
      if (seen.data.length === count) break;
    }
  } catch (error) {
    seen.error = error;
  }
  return seen;
}

/** Names and reasons, such as "waiting status". */
export function namesOf(states) {
  return states.map(({ name, reason }) => (reason ? `${name} ${reason}` : name));
}

/** A storage that a test can look into. */
export class FakeStorage extends Map {
  getItem(key) {
    return this.get(key) ?? null;
  }

  setItem(key, value) {
    this.set(key, value);
  }
}
