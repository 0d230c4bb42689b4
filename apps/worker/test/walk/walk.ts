/**
 * One walk: a batch of two chunks from its submit to its settling, its steps in an order that chance decides, with crashes, stalls, controls, a passed deadline and
 * losses of Redis between any two. Then honest work alone, until all is settled: what isn't then is stuck. Owns the chances and the bounds.
 */
import { isCoded, type BatchRequest } from "@flamboyance/contracts";
import { JobAborted, newUlid, type JobKind } from "@flamboyance/queue";
import { batchKeys, jsonLine } from "@flamboyance/storage";
import { startStopWatch } from "../../src/stop-watch.ts";
import { requestOf } from "../../src/testing/request.ts";
import * as actors from "./actors.ts";
import { chanceOf } from "@flamboyance/dev/chance";
import type { Lane } from "./lane.ts";
import { items, openLaws } from "./laws.ts";
import { openMemoryStorage } from "./memory-storage.ts";
import { Turns, type Actor } from "./turns.ts";

export interface Walked {
  readonly steps: number;
  /** Broken laws, each once, with the step after which it was seen. */
  readonly broken: readonly string[];
  /** Its steps in order, for one that broke a law. */
  readonly trail: readonly string[];
  readonly ended: string;
  /** What befell the batch. */
  readonly befell: readonly string[];
}

/** What may still befall the batch. */
interface Budget {
  crashes: number;
  stalls: number;
  losses: number;
  rollbacks: number;
  controls: number;
  cancels: number;
  deadlines: number;
}

/** Steps of chance, and as many again as honest work may need. */
const wildSteps = 400;
const honestSteps = 4_000;
/** As long as a rebuild takes, and longer. */
const sleepSteps = 150;
const slots: Readonly<Record<JobKind, number>> = { plan: 2, chunk: 2, finalize: 2 };

/** Steps that leave Redis as it was. */
const looksOnly = /^(?:read|readRange|describe|list|write|remove|batch|parts|stopping|believed|models|unconfirmedParts|sweepable) /;

interface Hands {
  readonly kind: JobKind;
  readonly jobId: string;
  readonly abort: AbortController;
  /** By which the worker of a chunk or a plan says that it lives. */
  readonly worker: string;
  readonly look: (() => Promise<void>) | null;
  /** BullMQ thinks so too. */
  holds: boolean;
}

export async function walk(lane: Lane, seed: number): Promise<Walked> {
  const chance = chanceOf(seed);
  const trail: string[] = [];
  const broken = new Set<string>();
  const breaks = (what: string): void => void broken.add(what);
  const memory = openMemoryStorage(breaks);
  const turns = new Turns();
  const hands = new Map<Actor, Hands>();
  /** Actors that sleep, by the step that they wake at. */
  const asleep = new Map<Actor, number>();
  const befell: string[] = [];
  let steps = 0;
  let runs = 0;
  let rollBack: (() => Promise<void>) | null = null;

  await lane.lose();
  const model = `${newUlid()}-fp32`;
  const created_at = Math.floor(Date.now() / 1_000);
  const expires_at = created_at + 86_400;
  const id = `batch_${newUlid()}`;
  const request: BatchRequest = requestOf({ id, model: { name: "m", key: model }, input: "s3://photos/m.jsonl", created_at, expires_at });
  const lines = Array.from({ length: items }, (_, item) => jsonLine({ custom_id: String(item), image: "s3://photos/a.png" }));
  const never = new AbortController().signal;
  for (const [key, text] of [
    ["m.jsonl", lines.join("")],
    ["a.png", "x"],
  ] as const)
    await memory.write({ bucket: "photos", key }, text, { contentType: "", signal: never });
  const laws = openLaws(lane.queue, memory, id, breaks);
  const budget: Budget = {
    crashes: chance.between(0, 3),
    stalls: chance.between(0, 3),
    losses: chance.one([0, 0, 1, 2]),
    rollbacks: chance.one([0, 0, 1]),
    controls: chance.between(0, 3),
    cancels: chance.one([0, 1]),
    deadlines: chance.one([0, 0, 1]),
  };
  // Two plans of one batch, and a loss after which either may be chosen.
  const twoPlans = chance.next() < 0.25;
  if (twoPlans) budget.losses += 1;
  // A manifest, or a neighbour, that kills whoever plans.
  const plansDie = chance.next() < 0.15;
  if (plansDie) budget.crashes += 8;

  const start = (name: string, work: (rooms: actors.Rooms) => Promise<unknown>) =>
    turns.start(name, (actor) => work(actors.roomsOf(turns, actor, lane.queue, memory)));
  const running = (name: string): number => turns.actors.filter((actor) => actor.name === name).length;

  async function takeJob(kind: JobKind): Promise<boolean> {
    if ([...hands.values()].filter((held) => held.kind === kind && held.holds).length >= slots[kind]) return false;
    const jobId = await lane.take(kind, model);
    if (jobId === null) return false;
    const abort = new AbortController();
    const worker = newUlid();
    if (kind === "chunk") await announce(worker);
    if (kind === "plan") await lane.queue.announcePlanner(worker, 3_600_000);
    let look: Hands["look"] = null;
    let given: Hands | null = null;
    const settled = async (result: "done" | "hand_back" | null): Promise<void> => {
      if (given === null) return;
      if (given.holds) await (result === "done" ? lane.finish(kind, model, jobId) : lane.giveBack(kind, model, jobId));
      given.holds = false;
    };
    const actor = await start(kind, async (rooms) => {
      // The actor's first step comes once its hands are known.
      await Promise.resolve();
      const run = async (): Promise<"done" | "hand_back"> => {
        if (kind === "plan") return actors.planBatch(rooms, jobId, abort.signal, worker);
        if (kind === "finalize") return actors.finalizeBatch(rooms, jobId, abort.signal);
        const [, batch = "", chunk, dispatch] = /^(.+)-(\d+)-(\d+)$/.exec(jobId) ?? [];
        const stops = startStopWatch(lane.queue);
        look = () => stops.look();
        return actors.chunkOf(rooms, { id: batch, chunk: Number(chunk), dispatch: Number(dispatch) }, abort.signal, {
          worker,
          stops,
          next: () => (runs += 1),
        });
      };
      const result = await run().catch((error: unknown) => {
        if (!isCoded(error)) breaks(`${kind} threw ${error instanceof Error ? error.stack : String(error)}`);
        else if (error.code === "internal_error") breaks(`${kind} threw ${error.message}`);
        return null;
      });
      await settled(result);
    });
    given = { kind, jobId, abort, worker, look, holds: true };
    if (actor.state === "running") hands.set(actor, given);
    else await settled("done");
    return true;
  }

  async function befall(wild: boolean): Promise<boolean> {
    const drawn = chance.next();
    const victims = turns.actors.filter((actor) => actor.state === "running");
    if (!wild || victims.length === 0) return false;
    const planner = plansDie ? victims.find((actor) => hands.get(actor)?.kind === "plan") : undefined;
    const victim = planner ?? victims[chance.between(0, victims.length - 1)];
    if (victim === undefined) return false;
    const held = hands.get(victim);
    if (drawn < (planner === undefined ? 0.02 : 0.15) && budget.crashes > 0) {
      budget.crashes -= 1;
      turns.crash(victim);
      trail.push(`CRASH of ${victim.name}`);
      befell.push("crash");
      if (held?.holds === true)
        await (chance.next() < 0.2 ? lane.finish(held.kind, model, held.jobId) : lane.giveBack(held.kind, model, held.jobId));
      if (held !== undefined) await silence(held);
      hands.delete(victim);
      return true;
    }
    if (drawn < 0.04 && budget.stalls > 0 && held?.holds === true) {
      budget.stalls -= 1;
      held.holds = false;
      await lane.giveBack(held.kind, model, held.jobId);
      if (chance.next() < 0.5) held.abort.abort(new JobAborted("lock_lost"));
      if (held.kind !== "finalize" && chance.next() < 0.5) await silence(held);
      asleep.set(victim, steps + chance.between(0, sleepSteps));
      trail.push(`STALL of ${victim.name}`);
      befell.push("stall");
      return true;
    }
    // Losses like the moment before a part is written: under the one plan, it comes late to the other.
    const late = twoPlans && victims.some(({ waiting }) => [...waiting].some(({ what }) => what.includes("/parts/")));
    if (drawn < (late ? 0.3 : 0.05) && budget.losses > 0) {
      budget.losses -= 1;
      await lane.lose();
      return lost("REDIS LOST");
    }
    if (drawn >= 0.3 && drawn < 0.32 && budget.rollbacks > 0) {
      if (rollBack === null) {
        rollBack = await lane.remember();
        trail.push("(Redis's file is synced up to here)");
        return true;
      }
      budget.rollbacks -= 1;
      await rollBack();
      return lost("REDIS RESTARTS without what came since");
    }
    return false;
  }

  /** The worker says no more that it lives. */
  async function silence({ kind, worker }: Hands): Promise<void> {
    if (kind === "chunk") await lane.queue.withdraw(worker, model);
    if (kind !== "plan") return;
    await lane.queue.withdraw(worker);
    laws.planSilent();
  }

  /** Somebody serves the model, always. */
  const announce = (worker: string) => lane.queue.announce({ worker, model, slots: 2 }, 3_600_000).catch(() => {});

  async function lost(what: string): Promise<boolean> {
    await announce("always");
    // Who plans lives, and goes on to say so; chunks may seem to have died.
    for (const { kind, worker } of hands.values()) if (kind === "plan") await lane.queue.announcePlanner(worker, 3_600_000);
    for (const held of hands.values()) held.holds = false;
    for (const actor of turns.actors) if (chance.next() < 0.3) asleep.set(actor, steps + chance.between(0, sleepSteps));
    laws.lost();
    trail.push(what);
    befell.push("loss");
    return true;
  }

  async function happen(wild: boolean): Promise<void> {
    const control = async (kind: "cancel" | "pause" | "resume"): Promise<void> => {
      befell.push(kind);
      await start(kind, async (rooms) => {
        if ((await actors.controlBatch(rooms, id, kind)) && kind === "cancel") laws.cancelled();
      });
    };
    // The last word of its owner; a pause that was under way may have had a later number.
    if (!wild && running("resume") === 0 && chance.next() < 0.02) await control("resume");
    const choices: (() => Promise<unknown>)[] = [
      () => takeJob("plan"),
      () => takeJob("chunk"),
      () => takeJob("chunk"),
      () => takeJob("finalize"),
      () => (running("reconcile") < 2 ? start("reconcile", actors.reconcileOnce) : Promise.resolve()),
      () => (running("rebuild") < 2 ? start("rebuild", actors.rebuild) : Promise.resolve()),
      () => (running("frontier") < 2 ? start("frontier", (rooms) => actors.confirmFrontier(rooms, id)) : Promise.resolve()),
      () => (running("repair") < 1 ? start("repair", (rooms) => actors.repairLate(rooms, id)) : Promise.resolve()),
      () => (running("reader") < 1 ? start("reader", async (rooms) => laws.shown(await actors.readShown(rooms, id))) : Promise.resolve()),
      async () => {
        const looks = [...hands.values()].flatMap(({ look }) => (look === null ? [] : [look]));
        for (const look of looks) await look().catch(() => {});
      },
      async () => {
        if (chance.next() < 0.3) await lane.endLeases();
      },
      async () => {
        // Quiet is long over.
        if (chance.next() < 0.3) await lane.setField(id, "quiet_from_ms", 0);
      },
    ];
    if (wild) {
      choices.push(() => start("seal", (rooms) => actors.sealBlindly(rooms, id, chance.one(["completed", "cancelled", "expired"]))));
      choices.push(async () => {
        if (budget.controls === 0 || chance.next() < 0.7) return;
        budget.controls -= 1;
        await control(chance.one(["pause", "resume"]));
      });
      choices.push(async () => {
        if (budget.cancels === 0 || chance.next() < 0.8) return;
        budget.cancels -= 1;
        await control("cancel");
      });
    }
    if (budget.deadlines > 0 && chance.next() < 0.01) {
      budget.deadlines -= 1;
      await expire();
    }
    await choices[chance.between(0, choices.length - 1)]?.();
  }

  /** The submit is done, and its plan job in two hands. */
  async function planTwice(): Promise<void> {
    for (let [submitting] = turns.actors; submitting !== undefined; [submitting] = turns.actors) await turns.take(submitting, () => 0);
    await takeJob("plan");
    for (const held of hands.values()) {
      held.holds = false;
      await lane.giveBack("plan", model, held.jobId);
    }
    await takeJob("plan");
  }

  async function expire(): Promise<void> {
    laws.expired();
    befell.push("deadline");
    trail.push("(the deadline passes)");
    await lane.passDeadline(id);
  }

  const step = async (wild: boolean): Promise<void> => {
    if (await befall(wild)) return laws.look(true);
    const awake = turns.actors.filter((actor) => (asleep.get(actor) ?? 0) <= steps);
    // Where all sleep, the first one wakes.
    const ready = (awake.length > 0 ? awake : turns.actors).filter(({ waiting }) => waiting.size > 0);
    if (ready.length === 0 || chance.next() < 0.25) return happen(wild);
    const actor = ready[chance.between(0, ready.length - 1)];
    if (actor === undefined) return;
    const took = await turns.take(actor, (count) => chance.between(0, count - 1));
    trail.push(`${actor.name}: ${took}`);
    steps += 1;
    if (actor.state !== "running") hands.delete(actor);
    await laws.look(!looksOnly.test(took));
  };

  await announce("always");
  await start("rebuild", actors.rebuild);
  await start("submit", (rooms) => actors.submitBatch(rooms, request));
  const done = (): boolean => memory.objects.has(batchKeys(id).end) && !memory.objects.has(batchKeys(id).marker);
  if (twoPlans) await planTwice();
  for (let count = 0; count < wildSteps && broken.size === 0 && !(done() && turns.actors.length === 0); count += 1) await step(true);
  // A submit that died is tried again by its caller, or goes on by its marker; without one there is no batch.
  const submitted = memory.objects.has(batchKeys(id).marker) || done();
  if (submitted) {
    await start("resume", (rooms) => actors.controlBatch(rooms, id, "resume"));
    for (let count = 0; count < honestSteps && broken.size === 0 && !done(); count += 1) await step(false);
    if (broken.size === 0) {
      if (done()) laws.close();
      else breaks(`stuck: ${JSON.stringify(await lane.queue.batch(id).catch(() => null))}`);
    }
  }
  if (twoPlans) befell.push("two plans");
  if (laws.plans() > 1) befell.push("another plan");
  for (const actor of turns.actors) turns.crash(actor);
  const record = await lane.queue.batch(id).catch(() => null);
  const { sum = "0", [id]: own = "0" } = await lane.stored(request.tenant);
  const stays = record?.endedAt == null ? "0" : String(record.storedBytes);
  if (record !== null && (own !== stays || sum !== stays))
    breaks(`its tenant is said to keep ${sum} bytes, ${own} of them here: ${stays} stay`);
  return {
    steps,
    broken: [...broken],
    trail: broken.size === 0 ? [] : trail,
    befell,
    ended: record?.status ?? (submitted ? "known to S3 alone" : "never submitted"),
  };
}
