// A composable for Vue: copy it into your app.
import { onScopeDispose, ref, shallowRef, toValue, watch } from "vue";
import { subscribe } from "carafe-client";

/** The newest `limit` events of a stream, its state, and why it has failed. `url` may be a ref. */
export function useStream(url, { limit = 100, ...options } = {}) {
  const events = ref([]);
  const state = shallowRef({ name: "connecting" });
  const error = shallowRef();
  let subscription;

  async function open(address) {
    const before = subscription;
    subscription = undefined;
    before?.close();
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

  watch(() => toValue(url), open, { immediate: true });
  onScopeDispose(() => subscription.close());
  return { events, state, error };
}
