// A composable for Vue: copy it into your app.
import { onScopeDispose, shallowRef, toValue, watch } from "vue";
import { subscribe } from "carafe-client";

/**
 * The newest `limit` events of a stream, its state, and why it has failed.
 *
 * @param {import("vue").MaybeRefOrGetter<string>} url
 * @param {import("carafe-client").SubscribeOptions & { limit?: number }} [options]
 */
export function useStream(url, { limit = 100, ...options } = {}) {
  const events = shallowRef(/** @type {import("carafe-client").StreamEvent[]} */ ([]));
  const state = shallowRef(/** @type {import("carafe-client").StreamState} */ ({ name: "connecting" }));
  const error = shallowRef(/** @type {unknown} */ (undefined));
  /** @type {import("carafe-client").Subscription | undefined} */
  let subscription;

  /** @param {string} address */
  async function open(address) {
    close();
    events.value = [];
    error.value = undefined;
    const own = (subscription = subscribe(address, {
      ...options,
      // The one before tells its end, too.
      onState: (now) => { if (subscription === own) state.value = now; },
    }));
    try {
      for await (const event of own) events.value = [...events.value, event].slice(-limit);
    } catch (reason) {
      if (subscription === own) error.value = reason;
    }
  }

  function close() {
    const before = subscription;
    subscription = undefined;
    before?.close();
  }

  watch(() => toValue(url), open, { immediate: true });
  onScopeDispose(close);
  return { events, state, error };
}
