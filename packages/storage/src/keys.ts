/**
 * The name of every object in the service's bucket.
 * Owns the one spelling of each key: numbers are padded so that a listing comes in number order. Refuses nothing: ids are ours.
 */

/** Keys below `batches/<id>/`, and the batch's marker in `open/`. Names that end in `Prefix` are to be listed. */
export interface BatchKeys {
  /** What recovery lists: stands while the batch isn't settled, and is removed last of all. */
  readonly marker: string;
  /** Everything of the batch but its marker. */
  readonly folderPrefix: string;
  /** batch.json: the request, frozen. */
  readonly request: string;
  readonly controlPrefix: string;
  /** A cancel, pause, resume, priority or deadline, numbered by the record. */
  control(number: number, ulid: string): string;
  readonly planPrefix: string;
  plan(plan: string): PlanKeys;
  readonly partsPrefix: string;
  /** Every item of a chunk, as one attempt wrote it; `cut` where cancel or expiry cut it short. */
  part(plan: string, chunk: number, attempt: string, cut: boolean): string;
  /** All parts of a plan. */
  planParts(plan: string): string;
  /** Stands just before the parts of this chunk and those behind it: for a listing that begins there. */
  beforeParts(plan: string, chunk: number): string;
  readonly frontierPrefix: string;
  frontier(epoch: number, number: number): string;
  readonly rebuiltPrefix: string;
  rebuilt(epoch: number): string;
  readonly sealPrefix: string;
  seal(epoch: number, seal: string): string;
  readonly finalPrefix: string;
  final(seal: string): FinalKeys;
  readonly end: string;
  readonly after: string;
  /** Written first by a DELETE: while it stands the id answers 404. */
  readonly deleted: string;
}

/** One plan's objects; without its `manifest`, written last, a plan doesn't exist. */
export interface PlanKeys {
  readonly folderPrefix: string;
  readonly items: string;
  readonly index: string;
  /** The bytes of the support example at this place, from 0. */
  example(index: number): string;
  /** The bytes of one of its images, where it has several. */
  exampleFrame(index: number, place: number): string;
  /** The refused lines. */
  readonly errors: string;
  /** A dry run's, in place of items and index. */
  readonly report: string;
  /** plan.json: items, chunks, refused, hashes. */
  readonly manifest: string;
}

/** The results that one seal leads to. */
export interface FinalKeys {
  readonly folderPrefix: string;
  readonly output: string;
  readonly errors: string;
  /** Tables of all lines, where they were asked for. */
  readonly csv: string;
  readonly parquet: string;
  readonly summary: string;
  /** Where which answer stands in the output, where the batch lends its answers: one object for each segment, from 0. */
  answers(segment: number): string;
}

/** All keys of one batch. */
export function batchKeys(id: string): BatchKeys {
  const folderPrefix = `${batchesPrefix}${id}/`;
  const below = (name: string): string => folderPrefix + name;
  return {
    marker: `${openPrefix}${id}`,
    folderPrefix,
    request: below("batch.json"),
    controlPrefix: below("control/"),
    control: (number, ulid) => below(`control/${padded(number)}-${ulid}.json`),
    planPrefix: below("plan/"),
    plan: (plan) => planKeys(below(`plan/${plan}/`)),
    partsPrefix: below("parts/"),
    part: (plan, chunk, attempt, cut) => below(`parts/${plan}/${padded(chunk)}-${attempt}${cut ? "-cut" : ""}.jsonl`),
    planParts: (plan) => below(`parts/${plan}/`),
    beforeParts: (plan, chunk) => below(`parts/${plan}/${padded(chunk)}`),
    frontierPrefix: below("frontier/"),
    frontier: (epoch, number) => below(`frontier/${padded(epoch)}-${padded(number)}.json`),
    rebuiltPrefix: below("rebuilt/"),
    rebuilt: (epoch) => below(`rebuilt/${padded(epoch)}.json`),
    sealPrefix: below("seals/"),
    seal: (epoch, seal) => below(`seals/${padded(epoch)}-${seal}.json`),
    finalPrefix: below("final/"),
    final: (seal) => ({
      folderPrefix: below(`final/${seal}/`),
      output: below(`final/${seal}/output.jsonl`),
      errors: below(`final/${seal}/errors.jsonl`),
      csv: below(`final/${seal}/results.csv`),
      parquet: below(`final/${seal}/results.parquet`),
      summary: below(`final/${seal}/summary.json`),
      answers: (segment) => below(`final/${seal}/answers/${padded(segment)}`),
    }),
    end: below("end.json"),
    after: below("after.json"),
    deleted: below("deleted.json"),
  };
}

/** All batches' folders. */
export const batchesPrefix = "batches/";

/** The markers of all batches that aren't settled: `open/<id>`. */
export const openPrefix = "open/";

/** Every epoch that was taken, by whom: `epochs/<epoch>-<ulid>`. Those below the highest may go. */
export const epochsPrefix = "epochs/";

export function epochKey(epoch: number, ulid: string): string {
  return `${epochsPrefix}${padded(epoch)}-${ulid}`;
}

/** An empty object, written anew to learn what time it is on the store's own clock, which every `lastModified` is told by. */
export const clockKey = "clock";

/** The model catalogue: `models/<name>/flamingo.json` and its files. */
export const modelsPrefix = "models/";

/** A model's folder in the catalogue, and the file that makes it one. */
export function modelKeys(name: string): { readonly folderPrefix: string; readonly manifest: string } {
  return { folderPrefix: `${modelsPrefix}${name}/`, manifest: `${modelsPrefix}${name}/flamingo.json` };
}

/** Who may call: `tenants/<tenant>/tenant.json`, and a folder for each of its keys. */
export const tenantsPrefix = "tenants/";

export interface TenantObjects {
  readonly folderPrefix: string;
  /** tenant.json: its weight and what it may touch. */
  readonly tenant: string;
  readonly keysPrefix: string;
  key(number: string): KeyObjects;
}

/** One key's objects. Each is written once and nothing is taken back, so that no two who write at a time can undo one another's. */
export interface KeyObjects {
  readonly folderPrefix: string;
  readonly key: string;
  /** It was rotated: the time at which it ends. */
  readonly ends: string;
  readonly revoked: string;
}

export function tenantObjects(tenant: string): TenantObjects {
  const folderPrefix = `${tenantsPrefix}${tenant}/`;
  return {
    folderPrefix,
    tenant: `${folderPrefix}tenant.json`,
    keysPrefix: `${folderPrefix}keys/`,
    key: (number) => {
      const below = `${folderPrefix}keys/${number}/`;
      return { folderPrefix: below, key: `${below}key.json`, ends: `${below}ends.json`, revoked: `${below}revoked.json` };
    },
  };
}

/** Which batches lend their answers: an empty object for each, `reuse/<tenant>/<recipe>/<counted down from its submit>-<batch>`, so that a listing begins with the newest. */
export const reusePrefix = "reuse/";

/** Of a tenant's batches with this recipe (a hash of what their answers have in common). */
export function recipePrefix(tenant: string, recipe: string): string {
  return `${reusePrefix}${tenant}/${recipe}/`;
}

export function lenderKey(recipe: string, { id, tenant, created_at: createdAt }: LentBy): string {
  return `${recipePrefix(tenant, recipe)}${padded(9_999_999_999 - createdAt)}-${id}`;
}

interface LentBy {
  readonly id: string;
  readonly tenant: string;
  readonly created_at: number;
}

/** The batch of such an object; null for a foreign name. */
export function lenderInName(key: string): string | null {
  return /\/\d{10}-(?<id>[^/]+)$/.exec(key)?.groups?.["id"] ?? null;
}

/** What the name of an object below `epochs/`, `control/`, `frontier/`, `rebuilt/` or `seals/` says: the number that it begins with. Null for a foreign name. */
export function numberInName(key: string): number | null {
  const match = /(?:^|\/)(?<number>\d{10,})(?:-[0-9a-z]+)?(?:\.json)?$/.exec(key);
  return match === null ? null : Number(match.groups?.["number"]);
}

/** What a part's key says beside its plan; null for a foreign name. */
export function partInName(key: string): { readonly chunk: number; readonly attempt: string; readonly cut: boolean } | null {
  const match = /\/(?<chunk>\d{10,})-(?<attempt>[0-9a-z]{26})(?<cut>-cut)?\.jsonl$/.exec(key);
  if (match?.groups === undefined) return null;
  const { chunk, attempt = "", cut } = match.groups;
  return { chunk: Number(chunk), attempt, cut: cut !== undefined };
}

function planKeys(folder: string): PlanKeys {
  return {
    folderPrefix: folder,
    items: `${folder}items.jsonl`,
    index: `${folder}index`,
    example: (index) => `${folder}examples/${index}`,
    exampleFrame: (index, place) => `${folder}examples/${index}/${place}`,
    errors: `${folder}errors.jsonl`,
    report: `${folder}report.json`,
    manifest: `${folder}plan.json`,
  };
}

const padded = (number: number): string => String(number).padStart(10, "0");
