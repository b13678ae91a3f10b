// Tabs that share a stream, in a simulated browser and in virtual time: whatever happens to them, each receives each event once
// and in order, and one of them has the one connection.
//
// SEED repeats a run, and LONG runs more of them.
import { test } from "node:test";
import { SEED } from "./support/random.js";
import { MINUTE, SECOND, Simulation, sleep } from "./support/simulation.js";

const RUNS = Number(process.env.RUNS ?? (process.env.LONG ? 200 : 4));
const MINUTES = 5;

/** What happens to the tabs: its weight, and what it does. */
const FAULTS = [
  [12, ({ origin, random }) => origin.publish(1 + random.below(3))],
  [1, ({ origin, random }) => origin.publish(random.below(3000))],
  [2, ({ browser, random }) => withLeader(browser, (tab) => browser.hang(tab, random.next() * 40 * SECOND))],
  [2, ({ browser, random }) => withAny(browser, random, (tab) => browser.hang(tab, random.next() * 20 * SECOND))],
  [2, ({ browser, random }) => withLeader(browser, (tab) => browser.freeze(tab, random.next() * 60 * SECOND))],
  [1, ({ browser, random }) => withAny(browser, random, (tab) => browser.freeze(tab, random.next() * 60 * SECOND))],
  [2, (simulation) => withLeader(simulation.browser, (tab) => simulation.close(tab))],
  [1, (simulation) => withLeader(simulation.browser, (tab) => simulation.crash(tab))],
  [1, (simulation) => withAny(simulation.browser, simulation.random, (tab) => simulation.crash(tab))],
  [1, ({ browser, random }) => withAny(browser, random, (tab) => tab.happen("online"))],
  [4, (simulation) => simulation.browser.alive.length < 8 && simulation.open(tabOf(simulation))],
  [1, (simulation) => closeSoon(simulation)],
  [2, ({ origin }) => origin.cut()],
  [2, (simulation) => outage(simulation, "isDown", 20 * SECOND)],
  [1, (simulation) => outage(simulation, "buffers", MINUTE)],
  [1, ({ origin, random }) => { origin.loss = random.pick([0, 0, 0.1, 0.5]); }],
];

function withAny(browser, { pick }, act) {
  const tabs = browser.alive.filter(({ isHung }) => !isHung);
  if (tabs.length > 1) act(pick(tabs));
}

function withLeader(browser, act) {
  const { leader } = browser;
  if (leader && !leader.isHung && browser.alive.length > 1) act(leader);
}

/** A new tab: some begin with an old position, some are slow. */
function tabOf({ origin, random }) {
  const pause = random.next() * 2 * SECOND;
  return {
    lastEventId: random.next() < 0.4 ? String(random.below(origin.events + 1)) : undefined,
    handle: random.next() < 0.3 ? () => sleep(random.next() * pause) : undefined,
    token: random.next() < 0.3 ? () => sleep(random.next() * 500) : undefined,
  };
}

/** A part of a page that is gone before its stream is open. */
function closeSoon(simulation) {
  const tab = simulation.open(tabOf(simulation));
  const close = () => tab.enter("page", () => {
    tab.subscription.close();
    tab.isGone = true;
  });
  setTimeout(close, simulation.random.next() * 50);
}

function outage(simulation, kind, longest) {
  const { origin, random } = simulation;
  origin[kind] = true;
  setTimeout(() => {
    if (simulation.isCalm) return;
    origin[kind] = false;
    if (kind === "buffers") origin.cut();
  }, random.next() * longest);
}

function happen(simulation) {
  let at = simulation.random.below(FAULTS.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, act] of FAULTS) if ((at -= weight) < 0) return act(simulation);
}

for (let run = 0; run < RUNS; run++) {
  const seed = SEED + run;
  test(`each tab receives each event once and in order: seed ${seed}`, async (t) => {
    const simulation = new Simulation(t, seed, { fallback: seed % 3 ? 3000 : undefined });
    const { browser, origin, random } = simulation;
    simulation.open({ lastEventId: "0" });
    simulation.open();
    const end = browser.clock.now + MINUTES * MINUTE;
    while (browser.clock.now < end) {
      await simulation.pass(random.next() * 1500);
      happen(simulation);
    }
    await simulation.settle();
    await simulation.staysCalm();
    simulation.check();
    t.diagnostic(`${browser.tabs.length} tabs, ${origin.events} events, ${browser.leaders} leaders, ${origin.requests} requests`);
  });
}
