// Moments in the life of a page that matter for a connection.

const TYPES = ["online", "pageshow", "pagehide", "visibilitychange", "freeze", "resume"];

/**
 * Calls `hide` when the page is about to run no code, and `wake(reason)` when it runs again or the network is back.
 * Returns a function that ends this. Does nothing where there are no such events.
 */
export function watchPage(background, hide, wake) {
  const isHidden = () => background === "pause" && globalThis.document?.hidden;
  const listener = ({ type }) => {
    // A page with an open connection is not kept in the back-forward cache, or loses the connection there.
    if (type === "pagehide" || type === "freeze") hide();
    else if (isHidden()) type === "visibilitychange" && hide();
    else if (!(type === "visibilitychange" && document.hidden)) wake(type);
  };
  // `freeze` and `resume` do not bubble, so the window sees them only while it captures.
  for (const type of TYPES) globalThis.addEventListener?.(type, listener, true);
  if (isHidden()) hide();
  return () => TYPES.forEach((type) => globalThis.removeEventListener?.(type, listener, true));
}
