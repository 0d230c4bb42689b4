/** Tenants and keys on the screen, and the key that is made without a service. */
import { readFile } from "node:fs/promises";
import {
  access,
  newTenantKey,
  scope,
  type Access,
  type ApiKey,
  type NewApiKey,
  type PutTenantInput,
  type Scope,
  type Tenant,
} from "@flamboyance/contracts";
import { ZodError } from "zod";
import { UsageError } from "./failure.ts";
import { formatTable, formatTime } from "./table.ts";

export function formatTenants(tenants: readonly Tenant[], columns?: number): string {
  if (tenants.length === 0) return "no tenants yet\n";
  const rows = tenants.map(({ tenant, weight, read, write }) => [tenant, String(weight), read.join(" "), write.join(" ")]);
  return formatTable(["tenant", "weight", "reads", "writes"], rows, columns);
}

export function formatTenant({ tenant, weight, quotas, read, write, credentials }: Tenant): string {
  const facts = [
    ["tenant", tenant],
    ["weight", String(weight)],
    [
      "quotas",
      Object.entries(quotas)
        .map(([quota, most]) => `${quota} ${most}`)
        .join(", ") || "none",
    ],
    ["reads", read.join(" ") || "nothing"],
    ["writes", write.join(" ") || "nothing"],
    ...credentials.map(({ buckets, secret }) => ["keys", `${secret}, for ${buckets.join(" ")}`]),
  ];
  return facts.map(([name = "", value = ""]) => `${name.padEnd(10)}${value}\n`).join("");
}

export function formatKeys(keys: readonly ApiKey[], columns?: number): string {
  if (keys.length === 0) return "no keys yet\n";
  const rows = keys.map(({ id, name, scopes, created_at: created, expires_at: ends, revoked_at: revoked }) => [
    id,
    name,
    formatTime(created),
    revoked === null ? formatTime(ends) : `revoked ${formatTime(revoked)}`,
    scopes.join(" "),
  ]);
  return formatTable(["id", "name", "created", "ends", "scopes"], rows, columns);
}

export function formatNewKey({ key, id, scopes }: NewApiKey): string {
  return `key, shown only now: ${key}\nid:                  ${id}\nscopes:              ${scopes.join(" ")}\n`;
}

export interface TenantFlags {
  readonly read?: string[];
  readonly write?: string[];
  readonly credentials?: string;
  readonly weight?: number;
  readonly runningBatches?: number;
  readonly itemsQueued?: number;
  readonly storedBytes?: number;
}

/** All that a tenant is said to be: what no flag says is as before, and without a before as it is without a flag. */
export async function readTenant(
  { read, write, credentials, weight, runningBatches, itemsQueued, storedBytes }: TenantFlags,
  standing: () => Promise<Tenant | null>,
): Promise<PutTenantInput> {
  const opened = credentials === undefined ? null : await readCredentials(credentials);
  const before = await standing();
  const share = weight ?? before?.weight;
  return {
    read: read ?? before?.read ?? [],
    write: write ?? before?.write ?? [],
    credentials: opened ?? before?.credentials ?? [],
    ...(share === undefined ? {} : { weight: share }),
    quotas: {
      ...before?.quotas,
      ...(runningBatches === undefined ? {} : { running_batches: runningBatches }),
      ...(itemsQueued === undefined ? {} : { items_queued: itemsQueued }),
      ...(storedBytes === undefined ? {} : { stored_bytes: storedBytes }),
    },
  };
}

/** A JSON list of `{buckets, secret, endpoint?, region?, path_style?}`. */
async function readCredentials(path: string): Promise<Access["credentials"]> {
  const wrong = (reason: string) => new UsageError(`--credentials ${path} ${reason}`);
  const text = await readFile(path, "utf8").catch(() => {
    throw wrong("can't be read");
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrong("isn't JSON");
  }
  const parsed = access.shape.credentials.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw wrong(`is wrong at ${issue?.path.join(".") ?? ""}: ${issue?.message ?? ""}`);
}

export interface BootstrapFlags {
  readonly tenant: string;
  readonly name: string;
  readonly scopes?: Scope[];
  readonly buckets?: string[];
}

/** A key and its entry for FLAMBOYANCE_KEYS. */
export async function bootstrapKey({ tenant, name, scopes, buckets }: BootstrapFlags): ReturnType<typeof newTenantKey> {
  try {
    return await newTenantKey({
      tenant,
      name,
      ...(scopes === undefined ? {} : { scopes }),
      ...(buckets === undefined ? {} : { buckets }),
    });
  } catch (error) {
    if (!(error instanceof ZodError)) throw error;
    const issue = error.issues[0];
    throw new UsageError(`--${String(issue?.path[0] ?? "tenant")} ${issue?.message ?? "doesn't fit"}`);
  }
}

export const scopeNames = scope.options;

/** `90d`, `24h`, `0s`, in seconds. */
export function readDuration(flag: string, text: string): number {
  const found = /^(\d{1,9})([smhd])$/.exec(text);
  const unit = { s: 1, m: 60, h: 3_600, d: 86_400 }[found?.[2] ?? ""];
  if (found === null || unit === undefined) throw new UsageError(`${flag} must be a number with s, m, h or d, as 24h`);
  return Number(found[1]) * unit;
}
