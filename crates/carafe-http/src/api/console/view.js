// What the page reads: the page's query has the names and the meaning of the stream's query, and the list's filter.

export function viewOfAddress() {
  const query = new URLSearchParams(location.search);
  const begin = query.has("earliest") ? "earliest" : query.has("last") ? `last=${query.get("last")}` : "";
  const [topics, patterns] = [query.getAll("topic"), query.getAll("pattern")];
  return { topics, patterns, begin, filter: query.get("filter") ?? "" };
}

/** The page's own address with this view, to be shared or opened again. */
export function addressOfView({ filter, ...view }) {
  const filtered = filter ? new URLSearchParams({ filter }).toString() : "";
  const query = [matchers(view).toString(), view.begin, filtered].filter(Boolean).join("&");
  return query ? `?${query}` : location.pathname;
}

/** The address of the view's stream, for other clients. */
export function streamAddress(view, parameters = {}) {
  const query = [matchers(view).toString(), view.begin, new URLSearchParams(parameters).toString()];
  const text = query.filter(Boolean).join("&");
  return new URL(text ? `events?${text}` : "events", document.baseURI).href;
}

/** The address of the page's own stream. */
export function ownAddress(view, lastEventId) {
  const query = matchers(view);
  const begin = lastEventId || !view.begin ? "" : `&${view.begin}`;
  return `events?${resuming(query, lastEventId)}${begin}`;
}

/** The address of the counter of `carafe dev`, which is a hub of its own beside the user's. */
export function counterAddress(lastEventId) {
  return `demo/events/count?${resuming(new URLSearchParams(), lastEventId)}`;
}

function resuming(query, lastEventId) {
  query.append("envelope", "json");
  query.append("heartbeat", "5s");
  if (lastEventId) query.append("last_event_id", lastEventId);
  return query;
}

export function isEverything({ topics, patterns }) {
  return topics.length === 0 && patterns.length === 0;
}

export function wordsOfView(view) {
  const what = isEverything(view) ? "every topic" : [...view.topics, ...view.patterns].join(", ");
  return `${what}, ${wordsOfBegin(view.begin)}`;
}

export function wordsOfBegin(begin) {
  if (begin === "earliest") return "from the oldest event kept";
  return begin ? `from the last ${begin.slice("last=".length)} events` : "from now on";
}

function matchers({ topics, patterns }) {
  return new URLSearchParams([...topics.map((t) => ["topic", t]), ...patterns.map((p) => ["pattern", p])]);
}
