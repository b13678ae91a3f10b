// The hook for React and the composable for Vue, in Chromium over a hub.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { numbers, skip, startBrowser, until } from "./support/chromium.js";
import { startHub } from "./support/hub.js";
import { startSite } from "./support/site.js";

const FOLDER = fileURLToPath(new URL("..", import.meta.url));
const shown = "`${state.name} ${error?.status ?? \"\"}: ${events.map(({ data }) => data)}`";
/** Each shows a stream, another one, or none. In development, React's StrictMode mounts each component twice. */
const APPS = {
  React: `
    import { StrictMode, createElement } from "react";
    import { createRoot } from "react-dom/client";
    import { useStream } from "./examples/react.js";
    function Orders({ url }) {
      const { events, state, error } = useStream(url, { limit: 5 });
      return createElement("pre", null, ${shown});
    }
    const root = createRoot(document.querySelector("main"));
    window.show = (url) => root.render(createElement(StrictMode, null, url && createElement(Orders, { url })));
  `,
  Vue: `
    import { createApp, h, shallowRef } from "vue";
    import { useStream } from "./examples/vue.js";
    const url = shallowRef();
    const Orders = {
      setup() {
        const stream = useStream(url, { limit: 5 });
        return () => {
          const [state, error, events] = [stream.state.value, stream.error.value, stream.events.value];
          return h("pre", ${shown});
        };
      },
    };
    createApp({ render: () => url.value && h(Orders) }).mount("main");
    window.show = (address) => { url.value = address; };
  `,
};

async function bundle(contents) {
  const { outputFiles: [{ text }] } = await build({
    stdin: { contents, resolveDir: FOLDER }, bundle: true, write: false, format: "esm",
    alias: { "carafe-client": `${FOLDER}/src/index.js` },
    define: { "process.env.NODE_ENV": '"development"', __VUE_OPTIONS_API__: "true", __VUE_PROD_DEVTOOLS__: "false", __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false" },
  });
  return text;
}

async function setUp(t, app) {
  const hub = await startHub(t);
  const script = await bundle(app);
  const site = await startSite(t, hub, {
    "/app.js": (response) => response.writeHead(200, { "content-type": "text/javascript" }).end(script),
    "/app": (response) => response.writeHead(200, { "content-type": "text/html" }).end('<!doctype html><main></main><script type="module" src="/app.js"></script>'),
  });
  const page = await (await startBrowser(t)).newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(`${site.base}/app`);
  return {
    hub, site, errors,
    show: (url) => page.evaluate((url) => window.show(url), url),
    hasText: (text) => until(`"${text}"`, () => page.evaluate((text) => document.querySelector("main").textContent === text, text)),
  };
}

for (const [name, app] of Object.entries(APPS)) {
  test(`the example for ${name} has one stream, shows each event once, and closes its connection`, { skip }, async (t) => {
    const { hub, site, errors, show, hasText } = await setUp(t, app);
    await show("/events/orders");
    await hasText("open : ");
    await hub.publish("orders", 0, 3);
    await hasText("open : 0,1,2");
    assert.equal(site.accepted.length, 1, "requests");
    await hub.publish("orders", 3, 4);
    await hasText(`open : ${numbers(5, 2)}`);
    await show("/events/others");
    await hasText("open : ");
    await until("one connection", () => site.streams.size === 1);
    await hub.publish("orders", 7, 1);
    await hub.publish("others", 100, 1);
    await hasText("open : 100");
    await show("/events/others?last=none");
    await hasText("ended 400: ");
    await show("/events/others");
    await hasText("open : ");
    await show(undefined);
    await hasText("");
    await until("no connection", () => site.streams.size === 0);
    assert.deepEqual(errors, []);
  });
}
