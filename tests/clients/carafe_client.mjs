// Carafe's own client, from its sources.
import { subscribe } from "../../clients/js/src/index.js";
import { fail, show, url } from "./reader.mjs";

try {
  for await (const { control, type = `carafe.${control}`, id, data = "{}" } of subscribe(url, { controls: true })) show({ type, id, data });
  fail("the stream has ended");
} catch (error) {
  fail(error.message);
}
