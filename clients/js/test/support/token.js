// Tokens of a hub that has a secret of this program.
import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SECRET = "0123456789abcdef0123456789abcdef";

/** The path of a file with the secret, for `--secret-file`. */
export async function secretFile(t) {
  const folder = await mkdtemp(join(tmpdir(), "carafe-client-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "secret");
  await writeFile(path, SECRET, { mode: 0o600 });
  return path;
}

export function tokenOf(claims) {
  const encode = (object) => Buffer.from(JSON.stringify(object)).toString("base64url");
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

/** What a hub and its site need for pages whose tokens are valid for so many seconds. `given` counts them. */
export async function tokenSite(t, lifetime) {
  const site = { given: 0, args: ["serve", "--secret-file", await secretFile(t)], routes: { "/token": giveToken } };
  return site;

  function giveToken(response) {
    site.given++;
    response.end(expiresIn(lifetime));
  }
}

/** A token for everything, which is valid for so many seconds at least. */
export function expiresIn(seconds) {
  return tokenOf({ subscribe: ["*"], publish: ["*"], exp: Math.ceil(Date.now() / 1000) + seconds });
}
