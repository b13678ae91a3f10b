// build.js [--write]
//
// Minifies the client into one module, and returns or prints its size. With --write, it is written to dist/.
import { writeFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** The minified module of an entry in src/. */
export async function minify(entry) {
  const result = await build({
    entryPoints: [fileURLToPath(new URL(`src/${entry}`, import.meta.url))],
    bundle: true, minify: true, format: "esm", target: "es2022", write: false, legalComments: "none",
  });
  return result.outputFiles[0].contents;
}

export function compressedSize(bytes) {
  return gzipSync(bytes, { level: 9 }).length;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const code = await minify("index.js");
  console.log(`carafe-client: ${code.length} bytes minified, ${compressedSize(code)} compressed`);
  if (process.argv.includes("--write")) {
    await mkdir(new URL("dist/", import.meta.url), { recursive: true });
    await writeFile(new URL("dist/carafe-client.js", import.meta.url), code);
  }
}
