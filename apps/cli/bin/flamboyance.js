#!/usr/bin/env node
/**
 * Starts the command line: from its sources in a checkout (no build needed), else from dist. Plain JavaScript that an old Node can read:
 * it looks for a Node that can run the rest, this one or the one that the checkout has installed.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const app = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(app, "src/main.ts");
const isCheckout = existsSync(source);
const entry = isCheckout ? ["--conditions=@flamboyance/source", source] : [join(app, "dist/main.js")];

const node = findNode();
if (node === null) {
  console.error(`flamboyance: Node 22.18 or later is needed; this is ${process.version}`);
  process.exit(2);
}
const child = spawn(node, [...entry, ...process.argv.slice(2)], { stdio: "inherit" });
// A terminal sends Ctrl-C to both of us: the child decides what it means.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  console.error(`flamboyance: ${error.message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));

function findNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 22 || (major === 22 && minor >= 18)) return process.execPath;
  const name = process.platform === "win32" ? "node.exe" : "node";
  for (let folder = app; dirname(folder) !== folder; folder = dirname(folder)) {
    const pinned = join(folder, "node_modules/.bin", name);
    if (existsSync(pinned)) return pinned;
  }
  return null;
}
