// The algorithm of the standard in its own order, on the whole stream at once: slow, and easy to compare with its text.

/** Returns the events, the last event ID and the reconnection time of a stream. */
export function interpret(bytes, lastEventId = "") {
  const text = new TextDecoder().decode(bytes);
  const lines = text.split(/\r\n|\r|\n/);
  // What follows the last line break is an incomplete line.
  lines.pop();
  const stream = { events: [], id: lastEventId, retry: undefined };
  let [data, type, id] = ["", "", lastEventId];
  for (const line of lines) {
    if (line === "") {
      stream.id = id;
      if (data !== "") stream.events.push({ type: type || "message", data: data.slice(0, -1), id });
      [data, type] = ["", ""];
      continue;
    }
    const colon = line.indexOf(":");
    if (colon === 0) continue;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") type = value;
    else if (name === "data") data += `${value}\n`;
    else if (name === "id" && !value.includes("\0")) id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) stream.retry = Number(value);
  }
  return stream;
}
