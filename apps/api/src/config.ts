/**
 * The api's configuration: the only reader of its environment. Its variables stand in this one schema (Redis's and S3's come from their rooms),
 * from which `--help` is printed. Refuses to start on a missing or wrong one, with one line that names it.
 */
import { readFileSync } from "node:fs";
import {
  CodedError,
  environmentTable,
  logLevel,
  readEnvironment,
  tenantKeys,
  type TenantKey,
  type VariableRow,
  type Variables,
} from "@flamboyance/contracts";
import { redisOf, redisVariables } from "@flamboyance/queue";
import { s3Of, s3Variables } from "@flamboyance/storage";
import { z } from "zod";

const environment = z.object({
  FLAMBOYANCE_HOST: z.string().min(1).default("127.0.0.1").describe("Address to listen on; 0.0.0.0 in a container."),
  FLAMBOYANCE_PORT: z.coerce.number().int().min(0).max(65_535).default(8080).describe("Port to listen on; 0 takes a free one and logs it."),
  FLAMBOYANCE_BUCKET: z
    .string()
    .min(3)
    .describe("The service's own bucket: batches, plans, parts, results, the model catalogue. No tenant may name it."),
  FLAMBOYANCE_KEYS: z
    .string()
    .min(1)
    .describe(
      'Keys that hold before any is stored: a JSON list, or a file of one: [{"tenant", "name", "sha256", "scopes": ["admin"], "buckets": ["demo-*"], "weight": 1, "quotas": {"running_batches": 10, "items_queued": 1000000, "stored_bytes": 500000000000}}]; may be []. `flamboyance key bootstrap` makes an entry.',
    ),
  FLAMBOYANCE_KEY_SECONDS: z.coerce
    .number()
    .min(0)
    .max(3_600)
    .default(10)
    .describe("How long what S3 said of a key is believed: within this time a revoked key ends in every process."),
  FLAMBOYANCE_REQUESTS_PER_SECOND: z.coerce
    .number()
    .min(0.1)
    .max(100_000)
    .default(100)
    .describe("Calls that a key may make each second, over all processes of the api; ten seconds' worth may come at once."),
  ...redisVariables.shape,
  ...s3Variables.shape,
  FLAMBOYANCE_CATALOGUE_SECONDS: z.coerce
    .number()
    .min(0)
    .default(10)
    .describe("How long the list of models is kept before S3 is asked again."),
  FLAMBOYANCE_FAILPOINTS: z
    .url()
    .optional()
    .describe(
      "For tests: each writing step waits for an answer to GET <url>?point=<step>&about=<batch or key>&pid=<process>. Unset: nothing asks.",
    ),
  FLAMBOYANCE_LOG_LEVEL: logLevel,
});

export interface Config {
  readonly host: string;
  readonly port: number;
  readonly bucket: string;
  readonly keys: readonly TenantKey[];
  readonly keySeconds: number;
  readonly requestsPerSecond: number;
  /** Folder of the keys to tenants' own buckets. */
  readonly bucketSecrets: string | null;
  readonly redis: ReturnType<typeof redisOf>;
  readonly s3: ReturnType<typeof s3Of>;
  readonly catalogueSeconds: number;
  readonly failpoints: string | null;
  readonly logLevel: string;
}

/** Parses an environment; throws configuration_invalid, whose `param` is the variable. */
export function readConfig(variables: Variables): Config {
  const value = readEnvironment(environment, variables);
  return {
    host: value.FLAMBOYANCE_HOST,
    port: value.FLAMBOYANCE_PORT,
    bucket: value.FLAMBOYANCE_BUCKET,
    keys: readKeys(value.FLAMBOYANCE_KEYS),
    requestsPerSecond: value.FLAMBOYANCE_REQUESTS_PER_SECOND,
    keySeconds: value.FLAMBOYANCE_KEY_SECONDS,
    bucketSecrets: value.FLAMBOYANCE_BUCKET_CREDENTIALS ?? null,
    redis: redisOf(value),
    s3: s3Of(value),
    catalogueSeconds: value.FLAMBOYANCE_CATALOGUE_SECONDS,
    failpoints: value.FLAMBOYANCE_FAILPOINTS ?? null,
    logLevel: value.FLAMBOYANCE_LOG_LEVEL,
  };
}

/** The environment of this process. */
export function readProcessConfig(): Config {
  return readConfig(process.env);
}

/** Every variable with its default and meaning, for `--help` and the documents. */
export function configurationTable(): VariableRow[] {
  return environmentTable(environment);
}

function readKeys(text: string): TenantKey[] {
  const wrong = (reason: string, cause?: unknown) =>
    new CodedError("configuration_invalid", `FLAMBOYANCE_KEYS ${reason}`, { param: "FLAMBOYANCE_KEYS", cause });
  let json = text;
  if (!text.trimStart().startsWith("[")) {
    try {
      json = readFileSync(text, "utf8");
    } catch (error) {
      throw wrong(`names a file that can't be read: ${text}`, error);
    }
  }
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw wrong("isn't JSON", error);
  }
  const parsed = tenantKeys.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw wrong(`is wrong at ${issue?.path.join(".") ?? ""}: ${issue?.message ?? ""}`);
}
