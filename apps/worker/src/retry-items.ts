/**
 * The items of a retry: those whose newest line in the lineage failed, copied from the plans that they ran by, with the numbers that they had in the first batch.
 * Owns which items those are. Reads final files and plans only, never the manifest: the retry runs what was run, whatever became of the dataset since.
 */
import {
  CodedError,
  end as endSchema,
  item as itemSchema,
  itemNumber,
  limits,
  lineSucceeded,
  plan as planSchema,
  type BatchRequest,
  type End,
  type Item,
  type Plan,
} from "@flamboyance/contracts";
import { batchKeys, readJson, readLines, ResultFile, takeNext, type PlanKeys, type Storage } from "@flamboyance/storage";
import type { ManifestEntry } from "./manifest.ts";
import { findWinningSeal } from "./winning-seal.ts";

type Retry = NonNullable<BatchRequest["retry"]>;

/** A batch of the lineage that has ended with a plan. */
interface Member {
  readonly files: NonNullable<End["files"]>;
  readonly plan: Plan;
  readonly keys: PlanKeys;
}

interface Source {
  readonly storage: Storage;
  readonly bucket: string;
}

/** In order. Throws `nothing_to_retry` where the batches aren't there any more. */
export async function* readRetryItems(source: Source, retry: Retry, signal: AbortSignal): AsyncGenerator<readonly ManifestEntry[]> {
  const members = await readMembers(source, retry, signal);
  const codes = retry.error_codes === null ? null : new Set(retry.error_codes);
  const { storage, bucket } = source;
  const at = (key: string) => ({ bucket, key });
  // What succeeded in the oldest was never run again, so nobody asks for its output.
  const files = members.flatMap(({ files: { output, errors } }, index) => [
    new ResultFile(storage, index === 0 ? null : at(output.key), { offsetBytes: 0, signal }),
    new ResultFile(storage, at(errors.key), { offsetBytes: 0, signal }),
  ]);
  const items = members.map(({ keys, plan }) => new PlannedItems(readItems(source, keys, signal), plan.plan));
  try {
    for (let next = await takeNext(files); next !== null; next = await takeNext(files)) {
      const { value, position } = next.line;
      const code = codeOf(value);
      if (lineSucceeded(value) || position.refusedLine !== null || (codes !== null && !codes.has(code))) continue;
      const item = await items[Math.floor(next.file / 2)]?.find(position.item);
      if (item === undefined) throw new CodedError("internal_error", `no plan holds item ${position.item}`);
      // Whom it was like is a place in its own plan; this one looks for likes again.
      const { same_as: _place, ...own } = item;
      yield [{ kind: "item", item: { ...own, number: position.item } }];
    }
  } finally {
    await Promise.all([...files, ...items].map((each) => each.close()));
  }
}

/** The plan of the batch that the retry follows: its support examples' bytes are copied, so that the retry's prompts are the same though an image is gone. */
export async function readFollowedPlan(
  source: Source,
  retry: Retry,
  signal: AbortSignal,
): Promise<{ readonly plan: Plan; readonly keys: PlanKeys }> {
  const followed = (await readMembers(source, retry, signal)).at(-1);
  if (followed === undefined) throw gone();
  return followed;
}

async function readMembers({ storage, bucket }: Source, { lineage }: Retry, signal: AbortSignal): Promise<Member[]> {
  const members: Member[] = [];
  for (const id of lineage) {
    const keys = batchKeys(id);
    if ((await storage.describe({ bucket, key: keys.deleted }, { signal })) !== null) continue;
    const end = await readJson(storage, { bucket, key: keys.end }, endSchema, signal);
    if (end === null || end.files === null) continue;
    const sealed = await findWinningSeal(storage, bucket, id, end, signal);
    if (sealed === null || sealed.seal.plan === null) continue;
    const planKeys = keys.plan(sealed.seal.plan);
    const plan = await readJson(storage, { bucket, key: planKeys.manifest }, planSchema, signal);
    if (plan !== null) members.push({ files: end.files, plan, keys: planKeys });
  }
  if (members.length === 0) throw gone();
  return members;
}

function gone(): CodedError {
  return new CodedError("nothing_to_retry", "the batches that it retries aren't there any more");
}

function codeOf({ error, response }: Parameters<typeof lineSucceeded>[0]): string {
  if (error !== null) return error.code;
  return response !== null && "error" in response.body ? (response.body.error.code ?? "") : "";
}

async function* readItems({ storage, bucket }: Source, keys: PlanKeys, signal: AbortSignal): AsyncGenerator<Item> {
  for await (const line of readLines(storage.stream({ bucket, key: keys.items }, { signal }), { maxLineBytes: limits.storedLineBytes })) {
    if (line.kind !== "line") throw new CodedError("internal_error", `${keys.items}: line ${line.number} isn't ours`);
    yield itemSchema.parse(JSON.parse(line.text));
  }
}

/** A plan's items, walked once, forwards. */
class PlannedItems {
  readonly #items: AsyncGenerator<Item>;
  readonly #plan: string;
  #place = 0;

  constructor(items: AsyncGenerator<Item>, plan: string) {
    this.#items = items;
    this.#plan = plan;
  }

  /** Numbers are asked for in growing order. */
  async find(number: number): Promise<Item> {
    for (;;) {
      const next = await this.#items.next();
      if (next.done === true) throw new CodedError("internal_error", `plan ${this.#plan} has no item ${number}`);
      const place = this.#place++;
      if (itemNumber(next.value, place) === number) return next.value;
    }
  }

  async close(): Promise<void> {
    await this.#items.return(undefined);
  }
}
