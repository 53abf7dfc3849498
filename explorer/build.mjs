// Bundle src/ and data/ into one self-contained page, ../src/ghostpoint/explorer/page.html.
//
//   npm ci && npm run build
//
// The page carries the SHA-256 of what it was made from; tests/explorer compares it with the sources.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const files = (folder) =>
  readdirSync(join(here, folder), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? files(join(folder, entry.name)) : [join(folder, entry.name)],
  );
const sources = [...files("src"), ...files("data"), "package.json"].map((name) => name.replaceAll("\\", "/")).sort();
const hash = createHash("sha256");
for (const name of sources) hash.update(`${name}\n`).update(readFileSync(join(here, name)));

const bundled = await build({
  entryPoints: [join(here, "src/main.js")],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "eof",
  metafile: true,
  write: false,
});
// the licences of the packages that are in the bundle, whose texts have to go with them
const packages = new Set(
  Object.keys(bundled.metafile.inputs).flatMap((name) => name.match(/node_modules\/([^/]+)\//)?.[1] ?? []),
);
const licences = [...packages]
  .sort()
  .map((name) => `${name}\n\n${readFileSync(join(here, "node_modules", name, "LICENSE"), "utf8").trim()}`)
  .join("\n\n");
const script = bundled.outputFiles[0].text.replaceAll("</script", "<\\/script");
const style = await build({ entryPoints: [join(here, "src/style.css")], minify: true, write: false });
const page = readFileSync(join(here, "src/page.html"), "utf8")
  .replace("SOURCES", hash.digest("hex"))
  .replace("LICENCES", () => licences.replaceAll("--", "- -"))
  .replace("STYLE", () => style.outputFiles[0].text.trim())
  .replace("SCRIPT", () => script.trim());
const target = join(here, "../src/ghostpoint/explorer/page.html");
writeFileSync(target, page);
console.log(`${relative(process.cwd(), target)}: ${(page.length / 1000).toFixed(0)} kB`);
