// Time of pages that passes as a test says: their timers and clocks, by Chromium itself.

/** How much faster than the time of a hub that time is. */
export const SCALE = 25;

/** Pages whose time stands still, until `pass` lets so many milliseconds pass in all of them. What arrives is handled meanwhile. */
export async function controlTime(context, pages) {
  const sessions = await Promise.all(pages.map((page) => context.newCDPSession(page)));
  await Promise.all(sessions.map((session) => session.send("Emulation.setVirtualTimePolicy", { policy: "pause" })));
  return { pass };

  /** The hub has time in proportion. */
  async function pass(budget) {
    const hub = new Promise((resolve) => setTimeout(resolve, budget / SCALE));
    await Promise.all([hub, ...sessions.map((session) => passIn(session, budget))]);
  }
}

function passIn(session, budget) {
  return new Promise((resolve, reject) => {
    session.once("Emulation.virtualTimeBudgetExpired", resolve);
    session.send("Emulation.setVirtualTimePolicy", { policy: "advance", budget }).catch(reject);
  });
}
