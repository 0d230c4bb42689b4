/**
 * How long a small batch of one tenant takes behind what another tenant has: alone, behind a batch of a million items that runs, and behind thousands of small ones. One worker, whose engine
 * takes its rows one after the other. Owns what is timed: from the submit to the end.
 */
import { createClient, type Client } from "@flamboyance/client";
import { noOpModelName } from "@flamboyance/dev/no-op-model";
import { jsonLine, type Storage } from "@flamboyance/storage";
import { bucket, manifest } from "./dataset.ts";
import { machine, note, print } from "./figures.ts";
import { openGates } from "./gates.ts";
import { withSystem, type RunningSystem } from "./run-system.ts";

export interface FairnessSetting {
  /** Of the large batch. */
  readonly items: number;
  /** How many small ones. */
  readonly batches: number;
  readonly waitMs: number;
}

const smallItems = 100;
const tinyItems = 4;
const largestChunk = 128;
const submitsAtOnce = 32;
const small = `s3://${bucket}/small.jsonl`;
const tiny = `s3://${bucket}/tiny.jsonl`;

type Crowd = (client: Client, signal: AbortSignal) => Promise<void>;

/** False where a small batch took longer than three times its time alone and a chunk. */
export async function measureFairness({ items, batches, waitMs }: FairnessSetting, signal: AbortSignal): Promise<boolean> {
  const large: Crowd = async (client) => {
    const { id } = await submit(client, manifest, signal);
    while ((await client.batches.get(id, { signal })).request_counts.completed === 0) await client.batches.resultsPage(id, { signal });
  };
  const many: Crowd = async (client) => {
    let left = batches;
    const send = async () => {
      while (left-- > 0) await submit(client, tiny, signal);
    };
    await Promise.all(Array.from({ length: submitsAtOnce }, send));
  };
  const crowds: [string, Crowd][] = [
    ["nothing", () => Promise.resolve()],
    [`a batch of ${items.toLocaleString("en")} items that runs`, large],
    [`${batches.toLocaleString("en")} batches of ${tinyItems} items`, many],
  ];
  const seconds: number[] = [];
  for (const [what, crowd] of crowds) {
    note(`behind ${what}`);
    seconds.push(await timeBehind(crowd, { items, batches, waitMs }, signal));
  }
  const [alone = NaN] = seconds;
  const chunk = (largestChunk * waitMs) / 1_000;
  const most = 3 * alone + chunk;
  print(
    `a batch of ${smallItems} items of another tenant, one worker, an engine that takes ${waitMs} ms an item`,
    machine,
    "",
    "| behind | seconds to its end | at most (3 × alone, and one chunk) |",
    "|---|---:|---:|",
    ...crowds.map(([what], at) => `| ${what} | ${seconds[at]?.toFixed(1)} | ${at === 0 ? "" : most.toFixed(1)} |`),
  );
  return seconds.every((each) => each <= most);
}

async function timeBehind(crowd: Crowd, { items, waitMs }: FairnessSetting, signal: AbortSignal): Promise<number> {
  const gates = await openGates(waitMs);
  try {
    const setting = {
      dataset: { items, images: 1, imageSide: 256 },
      workers: 1,
      environment: { FLAMBOYANCE_ENGINE_GATE: `${gates.url}/0`, FLAMBOYANCE_CALLS_PER_MINUTE: "1000000" },
      prepare: (storage: Storage) => uploadSmall(storage, signal),
    };
    return await withSystem(setting, signal, async ({ system, client }) => {
      const other = await otherTenant(system, signal);
      // Whatever is opened or compiled at the first batch.
      await client.batches.wait((await submit(client, small, signal)).id, { signal, intervalMs: 50 });
      await crowd(other, signal);
      const startedMs = performance.now();
      const { id } = await submit(client, small, signal);
      const batch = await client.batches.wait(id, { signal, intervalMs: 50 });
      if (batch.request_counts.completed !== smallItems) throw new Error(`the small batch ended as ${batch.status}`);
      return (performance.now() - startedMs) / 1_000;
    });
  } finally {
    gates.close();
  }
}

function submit(client: Client, input: string, signal: AbortSignal) {
  return client.batches.create({ model: noOpModelName, task: "caption", input, deduplicate: false }, { signal });
}

async function otherTenant({ apiUrl: baseUrl, adminKey }: RunningSystem["system"], signal: AbortSignal): Promise<Client> {
  const admin = createClient({ baseUrl, apiKey: adminKey });
  await admin.tenants.put("crowd", { read: [bucket], write: [] }, { signal });
  const { key } = await admin.keys.create({ tenant: "crowd" }, { signal });
  return createClient({ baseUrl, apiKey: key });
}

async function uploadSmall(storage: Storage, signal: AbortSignal): Promise<void> {
  const line = (_: unknown, item: number) => jsonLine({ custom_id: `item-${item}`, image: `s3://${bucket}/images/0.png` });
  const options = { contentType: "application/jsonl", signal };
  for (const [key, count] of [
    ["small.jsonl", smallItems],
    ["tiny.jsonl", tinyItems],
  ] as const) {
    await storage.write({ bucket, key }, Array.from({ length: count }, line).join(""), options);
  }
}
