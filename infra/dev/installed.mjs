/**
 * Exits with 0 where node_modules holds what package-lock.json names, else with 1: what `ready.sh` asks before anything is installed.
 * Plain JavaScript without dependencies, for the system's own Node. Compares contents, not times: a checkout or an `npm install` touches files in any order.
 */
import { existsSync, readFileSync } from "node:fs";

const wanted = "package-lock.json";
// npm writes this last; without it an installation was never finished.
const installed = "node_modules/.package-lock.json";

process.exitCode = isInstalled() ? 0 : 1;

function isInstalled() {
  if (!existsSync(installed)) return false;
  const has = JSON.parse(readFileSync(installed, "utf8")).packages;
  return Object.entries(JSON.parse(readFileSync(wanted, "utf8")).packages).every(([path, entry]) => {
    // The workspaces' own folders aren't installed; links to them are.
    if (!path.includes("node_modules/")) return true;
    // Left out for another platform; npm alone knows which.
    if (has[path] === undefined) return entry.optional === true || entry.devOptional === true;
    return has[path].version === entry.version && has[path].resolved === entry.resolved && has[path].integrity === entry.integrity;
  });
}
