// A certificate of a test, which Chromium is told to accept.
import { spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const REQUEST = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=127.0.0.1".split(" ");

export const skipCertificate = spawnSync("openssl", ["version"]).error ? "skipped: openssl is missing" : false;

/** The paths of a certificate and its key. */
export async function makeCertificate(t) {
  const folder = await mkdtemp(join(tmpdir(), "carafe-client-"));
  t.after(() => rm(folder, { recursive: true }));
  const [key, certificate] = ["key.pem", "certificate.pem"].map((name) => join(folder, name));
  const { status, stderr } = spawnSync("openssl", [...REQUEST, "-keyout", key, "-out", certificate], { encoding: "utf8" });
  if (status !== 0) throw new Error(`openssl: ${stderr}`);
  return { certificate, key };
}
