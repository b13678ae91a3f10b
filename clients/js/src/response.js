// What a response means for the stream, and how long the server wants to be left alone.

/** Statuses of a server that may answer otherwise later, beside 5xx. */
const TEMPORARY = [408, 425, 429];
/** A wrong `Retry-After` does not end the stream. */
const A_DAY = 86_400_000;

/** Returns why this response is no stream of `type`, or nothing if it is one. */
export function failureOf(response, type) {
  const { status, headers } = response;
  const content = headers.get("content-type") ?? "";
  if (status === 204) return { final: true, reason: "done", response };
  if (status !== 200) {
    const final = status < 500 && !TEMPORARY.includes(status);
    return { final, reason: "status", status, response, after: retryAfter(headers) };
  }
  if (content.toLowerCase().startsWith(type)) return;
  // A captive portal, a proxy's maintenance page or a login page: gone after a while, or after the login.
  const html = content.includes("html");
  return { final: !html, reason: html ? "html" : "content-type", status, response };
}

/** Milliseconds: the header has seconds or a date (RFC 9110, 10.2.3). */
function retryAfter(headers) {
  const text = headers.get("retry-after");
  return Math.min(A_DAY, Math.max(0, text * 1000 || Date.parse(text) - Date.now() || 0));
}
