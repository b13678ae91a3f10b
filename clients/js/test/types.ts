// What the declarations accept and refuse: types.test.js compiles it, and nothing runs it.
import { EventSource, StreamError, subscribe, type StreamState } from "carafe-client";
import { Decoder } from "carafe-client/decoder";

const stream = subscribe("/events", {
  token: async ({ refused }) => (refused ? "new" : "cached"),
  headers: { "x-header": "value" },
  share: true,
  fallback: 3000,
  onState(state: StreamState) {
    if (state.name === "waiting") state.until.toFixed();
    if (state.name === "open") state.transport === "poll";
    // @ts-expect-error: only a stream that waits has it.
    state.until;
  },
  onControl(control) {
    if (control.control === "gap") control.oldest?.length;
  },
});
for await (const { data, id, type } of stream) [data, id, type].map((text) => text.length);
for await (const event of subscribe("/events", { controls: true })) {
  if ("control" in event) event.control.length;
  else event.data.length;
}

const source = new EventSource("/events", { withCredentials: true, token: "token", body: () => "body" });
source.onmessage = ({ data, lastEventId }) => data + lastEventId;
source.addEventListener("add", ({ data }) => data.length);
source.addEventListener("open", ({ type }) => type.length);
const state: globalThis.EventSource["readyState"] = source.readyState;
state.toFixed();
// @ts-expect-error: an unknown value of an option.
subscribe("/events", { background: "no" });
// @ts-expect-error: it cannot be set.
source.readyState = 2;
subscribe("/events", { share: "user-1" });
// @ts-expect-error: a name is a string.
subscribe("/events", { share: 1 });
if (source.state.error instanceof StreamError) source.state.error.status?.toFixed();
new Decoder("id").push(new Uint8Array()).map(({ data }) => data);
