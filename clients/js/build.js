// build.js [--write]
//
// Minifies the client: the module that a page loads, and those that it loads in addition to share a stream or to poll.
// Prints their sizes. With --write, they are written to dist/.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const ON_DEMAND = ["share/member.js", "pages.js"];
const pathOf = (name) => fileURLToPath(new URL(name, import.meta.url));

/** The minified module of an entry in src/, and its compressed size. */
export async function minify(entry) {
  const { outputFiles: [{ contents }] } = await build({
    entryPoints: [pathOf(`src/${entry}`)],
    bundle: true, external: entry === "index.js" ? ON_DEMAND.map((name) => `./${name}`) : [], minify: true, format: "esm",
    target: "es2022", legalComments: "none", write: false,
  });
  return { contents, compressed: gzipSync(contents, { level: 9 }).length };
}

async function main() {
  for (const entry of ["index.js", ...ON_DEMAND]) {
    const output = `dist/${entry}`;
    const { contents, compressed } = await minify(entry);
    console.log(`${output}: ${contents.length} bytes, ${compressed} compressed`);
    if (!process.argv.includes("--write")) continue;
    await mkdir(dirname(pathOf(output)), { recursive: true });
    await writeFile(pathOf(output), contents);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
