// Times of a stream, in milliseconds.

export const LONGEST_BACKOFF = 30_000;
export const LEAST_BACKOFF = 100;
export const LONGEST_RETRY = 300_000;
/** Timers take 31 bits. */
export const LONGEST_TIMER = 1e9;
export const POLL_WAIT = 25_000;
export const FALLBACK_AFTER = 5_000;
/** Time of long polling before the next attempt to stream. It doubles with each that fails. */
export const POLLING_TIME = 60_000;
