// nginx as Debian has it, with buffering as it is by default.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { accepts, freePort } from "./hub.js";

/** What `cargo xtask test` has unpacked, else what is installed. */
const UNPACKED = fileURLToPath(new URL("../../../../target/proxies/usr/", import.meta.url));
const PROGRAM = existsSync(`${UNPACKED}sbin/nginx`) ? `${UNPACKED}sbin/nginx` : "nginx";
const ARCHITECTURE = { x64: "x86_64", arm64: "aarch64" }[process.arch];
const env = PROGRAM === "nginx" ? process.env : { LD_LIBRARY_PATH: `${UNPACKED}lib/${ARCHITECTURE}-linux-gnu` };

/** Why there are no tests with nginx in this run, or `false`. */
export const skipNginx = reasonAgainst();

function reasonAgainst() {
  if (process.env.CARAFE_TEST_WITHOUT?.split(",").includes("nginx")) return "skipped: this run is without nginx";
  return spawnSync(PROGRAM, ["-v"], { env }).status === 0 ? false : "skipped: nginx is missing; cargo xtask test brings it";
}

/** Starts nginx before a site, with not more than `proxy_pass`. Returns its base URL. */
export async function startNginx(t, target) {
  const folder = await mkdtemp(join(tmpdir(), "carafe-client-"));
  const port = await freePort();
  await writeFile(join(folder, "nginx.conf"), configuration(port, target));
  const program = spawn(PROGRAM, ["-e", "stderr", "-c", "nginx.conf", "-p", folder], { env, stdio: ["ignore", "ignore", "inherit"] });
  const exit = once(program, "exit");
  t.after(async () => {
    program.kill("SIGKILL");
    await exit;
    await rm(folder, { recursive: true });
  });
  while (!(await accepts(port))) {
    if (program.exitCode !== null) throw new Error(`nginx has ended with ${program.exitCode}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return `http://127.0.0.1:${port}`;
}

/** One process, which ends with the test. It tells only what is critical: that a hub is killed is not. */
function configuration(port, target) {
  const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${name};`);
  return `daemon off; master_process off; pid nginx.pid; error_log stderr crit;
    events {}
    http {
      access_log off; ${folders.join(" ")}
      server { listen 127.0.0.1:${port}; location / { proxy_pass ${target}; } }
    }`;
}
