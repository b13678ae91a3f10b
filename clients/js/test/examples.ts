// Uses of the examples: types.test.js compiles it and them, and nothing runs it.
import { useStream as useInReact } from "../examples/react.js";
import { useStream as useInVue } from "../examples/vue.js";

const { events, state, error } = useInReact("/events", { limit: 5, share: "user-1" });
events.map(({ data, id }) => data.length + id.length);
if (state.name === "waiting") state.until.toFixed();
if (error instanceof Error) error.message.length;

const stream = useInVue(() => "/events", { token: "token" });
stream.events.value.map(({ data }) => data.length);
stream.state.value.name.length;
// @ts-expect-error: an unknown option.
useInReact("/events", { limits: 5 });
// @ts-expect-error: a URL is needed.
useInVue();
