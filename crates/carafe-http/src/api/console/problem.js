// What a response says went wrong: a problem document (RFC 9457), or only its status.

/** `name` is the last part of the problem's type, such as `bad-topic`. */
export async function problemOf(response) {
  const isProblem = response.headers.get("content-type")?.startsWith("application/problem+json");
  const { type = "", title, detail } = isProblem ? await response.json().catch(() => ({})) : {};
  const head = `${response.status} ${title ?? response.statusText}`.trim();
  return { name: type.split(":").at(-1), detail, text: detail ? `${head}: ${detail}` : head };
}
