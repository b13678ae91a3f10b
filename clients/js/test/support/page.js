// Runs in a page: opens the stream that the fragment of its URL describes, and shows what it receives.
import { subscribe } from "/src/index.js";

const { url, tokens, ...options } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
window.seen = [];
window.states = [];
window.persisted = false;
window.publish = async (address, body) => (await fetch(address, { method: "POST", body })).status;
addEventListener("pageshow", ({ persisted }) => { window.persisted ||= persisted; });
if (tokens) options.token = async () => (await fetch("/token")).text();
window.subscription = subscribe(url, {
  ...options,
  onState: ({ name, reason, status, transport }) => window.states.push([name, reason ?? transport, status].filter(Boolean).join(" ")),
  onControl: ({ control, reason }) => { if (control === "gap") window.seen.push(`gap ${reason}`); },
});
for await (const { data } of window.subscription) {
  window.seen.push(data);
  // What is on the screen survives a reload, as far as the test is concerned.
  if (options.resume) sessionStorage.setItem("rendered", `${sessionStorage.getItem("rendered") ?? ""}${data},`);
}
