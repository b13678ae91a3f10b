// The state of the connection, as it is: in words, with the reason, and with the time until the next attempt.
import { $, setText } from "./dom.js";

const NAMES = {
  connecting: "Connecting",
  live: "Live",
  cut: "Cut",
  waiting: "Reconnecting",
  ended: "Ended",
  refused: "Refused",
};
const OFFERS_CONNECT = ["cut", "waiting", "ended", "refused"];

let ticking = 0;

export function showState({ name, reason, until }) {
  document.documentElement.dataset.state = name;
  $("state").dataset.state = name;
  setText($("state"), NAMES[name]);
  setText($("state-note"), reason);
  document.title = name === "live" ? "Carafe console" : `${NAMES[name]} – Carafe console`;
  offerConnect(OFFERS_CONNECT.includes(name));
  clearInterval(ticking);
  countDown(until);
  if (until !== null) ticking = setInterval(countDown, 250, until);
}

/** Beside the live region, or a screen reader would read out every second. */
function countDown(until) {
  const seconds = until === null ? 0 : Math.max(1, Math.ceil((until - performance.now()) / 1_000));
  setText($("countdown"), until === null ? "" : `Reconnects in ${seconds} s.`);
}

/** A button that goes leaves the keyboard's focus to the other one. */
function offerConnect(wanted) {
  const [connect, cut] = [$("reconnect"), $("cut")];
  const focused = document.activeElement;
  connect.hidden = !wanted;
  cut.disabled = wanted;
  if (wanted && focused === cut) connect.focus();
  if (!wanted && focused === connect) cut.focus();
}
