// A token for the hub, signed with the secret that both have.
import { createHmac } from "node:crypto";

const base64url = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** The claims as a token that is valid for an hour. */
export function sign(claims, secret) {
  const now = Math.floor(Date.now() / 1000);
  const content = `${base64url({ alg: "HS256", typ: "JWT" })}.${base64url({ iat: now, exp: now + 3600, ...claims })}`;
  return `${content}.${createHmac("sha256", secret).update(content).digest("base64url")}`;
}
