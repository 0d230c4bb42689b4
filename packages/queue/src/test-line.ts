/**
 * For this package's tests: one model's batches, and its worker of one slot by hand. It takes the next waiting job, claims and records its chunk, and
 * dispatches, as a worker does.
 */
import { parseJobId } from "./jobs.ts";
import type { Queue } from "./queue.ts";
import { requestOf, tallyOf, type TestRedis } from "./test-redis.ts";
import { newUlid } from "./ulid.ts";

export interface Wanted {
  readonly tenant: string;
  readonly chunks: number;
  /** Of each chunk. Default 4. */
  readonly items?: number;
  readonly weight?: number;
  readonly priority?: number;
}

/** Each batch is a second younger than the one before. */
export async function openTestLine(redis: TestRedis, queue: Queue) {
  const model = newUlid();
  const key = (name: string) => `flamboyance:${name}:${model}`;
  const jobs = `flamboyance:chunk-${model}`;
  const batches = new Map<string, { plan: string; tenant: string; left: number }>();
  await queue.announce({ worker: "w", model, slots: 1 }, 600_000);

  async function submit({ tenant, chunks, items = 4, weight = 1, priority = 0 }: Wanted): Promise<string> {
    const request = requestOf({ model: { name: "m", key: model }, tenant, weight, priority, created_at: 1_000_000 + batches.size });
    const { id } = request;
    const plan = newUlid();
    await queue.submit(request);
    await queue.adoptPlan({ id, plan, items: items * chunks, chunks, refused: 0 });
    batches.set(id, { plan, tenant, left: chunks });
    await queue.dispatch(model);
    return id;
  }

  /** Runs the next chunk to its end and answers its batch; null where none is ready. */
  async function next(): Promise<string | null> {
    for (;;) {
      const jobId = await redis.raw.rpop(`${jobs}:wait`);
      if (jobId === null) return null;
      const { id, chunk, dispatch } = parseJobId("chunk", jobId);
      const attempt = newUlid();
      const claim = await queue.claim({ id, chunk, attempt, dispatch, worker: "w" });
      const batch = batches.get(id);
      if (claim.kind === "run" && batch !== undefined) {
        await queue.record({ id, chunk, plan: batch.plan, attempt, cut: false, tally: tallyOf(1) });
        batch.left -= 1;
      }
      await redis.raw.del(`${jobs}:${jobId}`);
      await queue.dispatch(model);
      if (claim.kind === "run") return id;
    }
  }

  /** The batches whose chunks run next; fewer where no more are ready. */
  const run = async (chunks: number): Promise<string[]> => {
    const ran: string[] = [];
    for (let count = 0; count < chunks; count += 1) {
      const id = await next();
      if (id === null) break;
      ran.push(id);
    }
    return ran;
  };
  const tenantOf = (id: string): string => batches.get(id)?.tenant ?? "";
  return {
    model,
    key,
    submit,
    next,
    run,
    tenantOf,
    /** Letters of the tenants whose chunks run next. */
    tenants: async (chunks: number): Promise<string> => (await run(chunks)).map(tenantOf).join(""),
    /** What runs until the batch has all its parts, itself included. */
    async untilDone(id: string): Promise<string[]> {
      const ran: string[] = [];
      while ((batches.get(id)?.left ?? 0) > 0) {
        const before = ran.length;
        ran.push(...(await run(1)));
        if (ran.length === before) throw new Error("nothing is ready");
      }
      return ran;
    },
    /** Many batches of one chunk at once, put where submits and adoptions would put them; the last one by these themselves. */
    async fill(tenant: string, count: number): Promise<void> {
      const writing = redis.raw.pipeline();
      const places: (string | number)[] = [];
      for (let index = 1; index < count; index += 1) {
        const { id, created_at, expires_at } = requestOf({ created_at: 1_000 });
        const plan = newUlid();
        const record = { id, tenant, model, created_at, expires_at, status: "in_progress", shown: "{}", plan, items: 4, chunks: 1 };
        writing.hset(`flamboyance:batch:${id}`, record);
        places.push(created_at, id);
        batches.set(id, { plan, tenant, left: 1 });
      }
      writing.zadd(`${key("running")}:${tenant}`, ...places);
      await writing.exec();
      await submit({ tenant, chunks: 1 });
    },
  };
}
