/** `npm run chaos -- --rounds 20 --seed 1`: whole services under seeded faults, round after round. Exits non-zero where a law was broken. */
import { cp } from "node:fs/promises";
import { parseArgs } from "node:util";
import { openLeftovers } from "./left-overs.ts";
import { writeManifests } from "./manifests.ts";
import { planRound } from "./plan-round.ts";
import { openLedger, table, type Ledger, type RoundLine } from "./report.ts";
import { runRound } from "./run-round.ts";
import { openStage } from "./stage.ts";

const usage = `npm run chaos -- [--rounds 20] [--seed 1] [--from 1] [--lanes 1] [--state <file>]

  --rounds  how many rounds: one batch of at least 200 items each, on three workers, under three to six faults
  --seed    of all chance in the plans; round n of a seed is planned the same each time
  --from    the first round's number, to repeat one
  --lanes   services side by side, each with rounds of its own
  --state   a file that keeps what was done: the same command goes on where it was broken off
  --plan    prints the plans and runs nothing`;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    from: { type: "string", default: "1" },
    lanes: { type: "string", default: "1" },
    state: { type: "string" },
    plan: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const [rounds = 0, seed = 0, from = 0, lanes = 0] = [values.rounds, values.seed, values.from, values.lanes].map(Number);
const numbers = Array.from({ length: rounds }, (_, index) => from + index);

if (values.help) console.log(usage);
else if (values.plan) for (const number of numbers) console.log(JSON.stringify(planRound(seed, number)));
else {
  const ledger = await openLedger(values.state ?? null, seed);
  const done = new Set(ledger.lines.map(({ round }) => round));
  const left = numbers.filter((number) => !done.has(number));
  await Promise.all(Array.from({ length: Math.min(lanes, left.length) }, () => runLane(left, ledger)));
  console.log(table(ledger.lines));
  process.exitCode = ledger.lines.every(({ broken }) => broken.length === 0) ? 0 : 1;
}

/** One service; takes the next number as long as there is one. */
async function runLane(left: number[], ledger: Ledger): Promise<void> {
  const stage = await openStage();
  try {
    const manifests = await writeManifests(stage);
    const leftovers = openLeftovers(stage);
    // Rounds whose batches, one or two, are to be looked at once more.
    const held = new Set<{ readonly ids: Set<string>; line: RoundLine }>();
    const settle = async (all: boolean): Promise<void> => {
      for (const [id, broken] of await leftovers.look(all)) {
        for (const round of held) {
          if (!round.ids.delete(id)) continue;
          round.line = { ...round.line, broken: [...round.line.broken, ...broken] };
          if (broken.length > 0) console.log(`round ${round.line.round} (${id}): ${JSON.stringify(broken)}`);
          if (round.ids.size > 0) continue;
          held.delete(round);
          await ledger.add(round.line);
        }
      }
    };
    for (let number = left.shift(); number !== undefined; number = left.shift()) {
      const plan = planRound(seed, number);
      const manifest = manifests[plan.manifest];
      if (manifest === undefined) throw new Error("no such manifest");
      const { id, status, retry, ended, met, broken, again, ms } = await runRound(stage, plan, manifest);
      const line = {
        round: number,
        status,
        wish: plan.wish.kind,
        retry,
        planned: plan.faults.map(({ kind }) => kind),
        met: met.map(({ kind }) => kind),
        broken,
        again,
        ms,
      };
      const retried = retry === null ? "" : `, retry ${retry}`;
      console.log(`round ${number}: ${status ?? "nothing"}${retried}, ${(ms / 1_000).toFixed(1)} s, ${line.met.join(", ")}`);
      if (broken.length > 0) {
        // The processes' logs and Redis's commands, before the next round's.
        const folder = `${stage.folder}-round-${number}`;
        await cp(stage.folder, folder, { recursive: true }).catch((error: unknown) =>
          console.error(`${folder} isn't whole: ${String(error)}`),
        );
        console.log(`  ${JSON.stringify({ id, broken, plan, folder })}`);
      }
      if (ended.size === 0 || broken.some(({ law }) => law === "stuck")) await ledger.add(line);
      else {
        held.add({ ids: new Set(ended.keys()), line });
        for (const [each, as] of ended) leftovers.ended(each, as);
      }
      await settle(false);
    }
    await settle(true);
  } finally {
    await stage.close();
  }
}
