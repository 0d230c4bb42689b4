#!/usr/bin/env node
/**
 * Starts the command line: from its sources in a checkout (no build needed), else from dist. Plain JavaScript that an old Node can read:
 * such a one hands over to the Node that the checkout has installed.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import * as nodeModule from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(import.meta.url);
const app = dirname(dirname(script));
const isCheckout = existsSync(join(app, "src/main.ts"));

const [major, minor] = process.versions.node.split(".").map(Number);
if (major > 22 || (major === 22 && minor >= 18)) {
  if (isCheckout) {
    // What `--conditions=@flamboyance/source` does: our packages are read from their sources.
    nodeModule.registerHooks({
      resolve: (specifier, context, next) => next(specifier, { ...context, conditions: [...context.conditions, "@flamboyance/source"] }),
    });
  }
  await import(isCheckout ? "../src/main.ts" : "../dist/main.js");
} else handOver();

function handOver() {
  const node = installedNode();
  if (node === null) {
    console.error(`flamboyance: Node 22.18 or later is needed; this is ${process.version}`);
    process.exit(2);
  }
  const child = spawn(node, [script, ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal sends Ctrl-C to both of us, and the child decides what it means; whoever has no terminal sends it to one of us.
  process.on("SIGINT", () => process.stdin.isTTY || process.stdout.isTTY || child.kill("SIGINT"));
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`flamboyance: ${error.message}`);
    process.exit(1);
  });
  child.on("exit", (code) => process.exit(code ?? 1));
}

function installedNode() {
  const name = process.platform === "win32" ? "node.exe" : "node";
  for (let folder = app; dirname(folder) !== folder; folder = dirname(folder)) {
    const installed = join(folder, "node_modules/.bin", name);
    if (existsSync(installed)) return installed;
  }
  return null;
}
