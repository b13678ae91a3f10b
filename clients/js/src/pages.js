// Pages of the hub: JSON instead of a stream. Loaded only with `fallback`.
import { isStartOpen } from "./start.js";

const TYPE = "application/json";

/**
 * Reads the page after `id`, which waits so many milliseconds for an event. `request` sends for a URL and a type.
 * Returns `failure`, and whether the server may have no pages, or the `events` as a stream has them. `more` says that a snapshot continues after this page.
 */
export async function readPage(url, id, wait, request, failureOf, continues) {
  const address = new URL(url);
  const query = address.searchParams;
  query.set("format", "json");
  if (wait) query.set("wait", `${wait}ms`);
  // After the snapshot, a stream has all events, and a page with `latest` only the newest of each topic.
  if (id && !continues) query.delete("latest");
  if (id) query.set("last_event_id", id);
  // A page would begin with the oldest event. This one only tells the position, and the next has what is new.
  else if (isStartOpen(query)) query.set("last", 0);
  const response = await request(address, TYPE);
  const failure = failureOf(response, TYPE);
  if (failure) return { failure, isMissing: failure.final && failure.status && failure.status !== 401 };
  const { events, next, gap, ended, up_to_date } = await response.json();
  const asOnStream = (event) => ({
    type: event.type ?? "message", data: query.has("envelope") ? JSON.stringify(event) : event.data, id: event.id,
  });
  const reportOf = (type, report, id) => (report ? [{ type, data: JSON.stringify(report), id }] : []);
  return {
    response, id: next, ended, more: query.has("latest") && !up_to_date && next !== id,
    events: [...reportOf("carafe.gap", gap, id), ...events.map(asOnStream), ...reportOf("carafe.end", ended, next)],
  };
}
