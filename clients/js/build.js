// build.js [--write]
//
// Minifies the client: the module that a page loads, and the one that it loads in addition to share a stream. Prints their
// sizes. With --write, they are written to dist/.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const MODULES = { "index.js": "dist/carafe-client.js", "share/member.js": "dist/share/member.js" };
const pathOf = (name) => fileURLToPath(new URL(name, import.meta.url));

/** The minified module of an entry in src/, and its compressed size. */
export async function minify(entry) {
  const { outputFiles: [{ contents }] } = await build({
    entryPoints: [pathOf(`src/${entry}`)],
    bundle: true, external: entry === "index.js" ? ["./share/member.js"] : [], minify: true, format: "esm",
    target: "es2022", legalComments: "none", write: false,
  });
  return { contents, compressed: gzipSync(contents, { level: 9 }).length };
}

async function main() {
  for (const [entry, output] of Object.entries(MODULES)) {
    const { contents, compressed } = await minify(entry);
    console.log(`${output}: ${contents.length} bytes, ${compressed} compressed`);
    if (!process.argv.includes("--write")) continue;
    await mkdir(dirname(pathOf(output)), { recursive: true });
    await writeFile(pathOf(output), contents);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
