/** What giving a claim back rests on: a thread may have the device once the one that had it has ended. A process of its own, since it would end where that is untrue. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const program = fileURLToPath(new URL("../testing/device-in-turn.ts", import.meta.url));

it.for(["closed", "open"])("lets a second thread use the device after the first has ended with its session %s", (end, { skip }) => {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [...process.execArgv, program, end], { encoding: "utf8" });
  if (status === 3) skip("there is no driver (infra/install-tools.sh installs one)");
  expect({ status, signal, stdout, stderr: status === 0 ? "" : stderr }).toEqual({
    status: 0,
    signal: null,
    stdout: "first turn: 0\nsecond turn: 0\n",
    stderr: "",
  });
});
