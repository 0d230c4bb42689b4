/**
 * Adds to package-lock.json the optional packages of platforms that its writer's registry didn't have: `node infra/dev/complete-lock.mjs`.
 * A mirror may hold only some platforms' binaries; npm then leaves the others out of the lock, and `npm ci` refuses that lock everywhere.
 * With `--check` it changes nothing, names what is missing and exits with 1.
 */
import { readFileSync, writeFileSync } from "node:fs";

const file = "package-lock.json";
const systems = new Set(["android", "darwin", "freebsd", "linux", "openharmony", "win32"]);
const processors = new Set(["arm", "arm64", "ia32", "loong64", "ppc64", "riscv64", "s390x", "x64"]);
const lock = JSON.parse(readFileSync(file, "utf8"));
const missing = Object.entries(lock.packages).flatMap(([path, entry]) =>
  Object.entries(entry.optionalDependencies ?? {})
    .filter(([name]) => lock.packages[`node_modules/${name}`] === undefined && lock.packages[`${path}/node_modules/${name}`] === undefined)
    .map(([name, version]) => ({ name, version, dev: entry.dev === true })),
);

if (process.argv.includes("--check")) {
  for (const { name, version } of missing) console.error(`${file} lacks ${name} ${version}: run \`node infra/dev/complete-lock.mjs\``);
  process.exitCode = missing.length === 0 ? 0 : 1;
} else if (missing.length > 0) {
  for (const { name, version, dev } of missing)
    lock.packages[`node_modules/${name}`] = { version, ...platformOf(name), ...(dev ? { dev } : {}), optional: true };
  lock.packages = Object.fromEntries(Object.entries(lock.packages).toSorted(([a], [b]) => a.localeCompare(b, "en")));
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(`${missing.length} added; \`npm install\` now puts their fields in npm's order`);
}

/** The platform that such a package's name tells, as binding-linux-x64-musl. */
function platformOf(name) {
  const parts = name.split("/").at(-1).split("-");
  const os = { windows: "win32" }[parts.find((part) => part === "windows")] ?? parts.find((part) => systems.has(part));
  const cpu = { 64: "x64" }[parts.find((part) => part === "64")] ?? parts.find((part) => processors.has(part));
  if (os === undefined || cpu === undefined) throw new Error(`${name}: its name tells no platform; add it to ${file} by hand`);
  const libc = parts.some((part) => part.startsWith("musl"))
    ? ["musl"]
    : parts.some((part) => part.startsWith("gnu"))
      ? ["glibc"]
      : undefined;
  return { cpu: [cpu], ...(libc === undefined ? {} : { libc }), os: [os] };
}
