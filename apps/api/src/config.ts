/**
 * The api's configuration: the only reader of its environment. Every variable's name, default and meaning stands in this one schema,
 * from which `--help` is printed. Refuses to start on a missing or wrong one, with one line that names it.
 */
import { readFileSync } from "node:fs";
import { CodedError, tenantKeys, type TenantKey } from "@flamboyance/contracts";
import { z } from "zod";

const flag = z.enum(["true", "false"]).transform((text) => text === "true");

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
      'Who may call: a JSON list, or a file of one: [{"tenant", "name", "sha256", "buckets": ["demo-*"]}]. `flamboyance key create` makes an entry.',
    ),
  REDIS_URL: z
    .url({ protocol: /^rediss?$/ })
    .default("redis://127.0.0.1:6379")
    .describe("Redis, as redis://[user:password@]host:port[/database]."),
  FLAMBOYANCE_REDIS_PREFIX: z
    .string()
    .regex(/^[a-z0-9-]+$/)
    .default("flamboyance")
    .describe("First word of every Redis key."),
  FLAMBOYANCE_S3_ENDPOINT: z.url().optional().describe("S3's address; unset: AWS's own for the region."),
  FLAMBOYANCE_S3_REGION: z.string().min(1).default("us-east-1").describe("S3's region."),
  FLAMBOYANCE_S3_PATH_STYLE: flag
    .optional()
    .describe("true: bucket in the path; false: in the host name. Unset: true where an endpoint is set."),
  AWS_ACCESS_KEY_ID: z.string().min(1).describe("S3's access key."),
  AWS_SECRET_ACCESS_KEY: z.string().min(1).describe("S3's secret key."),
  AWS_SESSION_TOKEN: z.string().min(1).optional().describe("S3's session token, with temporary credentials."),
  FLAMBOYANCE_CATALOGUE_SECONDS: z.coerce
    .number()
    .min(0)
    .default(10)
    .describe("How long the list of models is kept before S3 is asked again."),
  FLAMBOYANCE_LOG_LEVEL: z
    .enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"])
    .default("info")
    .describe("Log lines (JSON) from this level on."),
});

export interface Config {
  readonly host: string;
  readonly port: number;
  readonly bucket: string;
  readonly keys: readonly TenantKey[];
  readonly redis: { readonly url: string; readonly prefix: string };
  readonly s3: {
    readonly endpoint?: string;
    readonly region: string;
    readonly pathStyle: boolean;
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
  readonly catalogueSeconds: number;
  readonly logLevel: string;
}

/** Parses an environment; throws configuration_invalid, whose `param` is the variable. */
export function readConfig(variables: Readonly<Record<string, string | undefined>>): Config {
  // An empty variable is an unset one: compose files and shells can't leave one out.
  const present = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined && value !== ""));
  const parsed = environment.safeParse(present);
  if (!parsed.success) {
    const name = String(parsed.error.issues[0]?.path[0] ?? "");
    const reason = present[name] === undefined ? "is not set" : (parsed.error.issues[0]?.message ?? "is wrong");
    throw new CodedError("configuration_invalid", `${name} ${reason} (--help lists every variable)`, { param: name });
  }
  const value = parsed.data;
  return {
    host: value.FLAMBOYANCE_HOST,
    port: value.FLAMBOYANCE_PORT,
    bucket: value.FLAMBOYANCE_BUCKET,
    keys: readKeys(value.FLAMBOYANCE_KEYS),
    redis: { url: value.REDIS_URL, prefix: value.FLAMBOYANCE_REDIS_PREFIX },
    s3: {
      ...(value.FLAMBOYANCE_S3_ENDPOINT === undefined ? {} : { endpoint: value.FLAMBOYANCE_S3_ENDPOINT }),
      ...(value.AWS_SESSION_TOKEN === undefined ? {} : { sessionToken: value.AWS_SESSION_TOKEN }),
      region: value.FLAMBOYANCE_S3_REGION,
      pathStyle: value.FLAMBOYANCE_S3_PATH_STYLE ?? value.FLAMBOYANCE_S3_ENDPOINT !== undefined,
      accessKeyId: value.AWS_ACCESS_KEY_ID,
      secretAccessKey: value.AWS_SECRET_ACCESS_KEY,
    },
    catalogueSeconds: value.FLAMBOYANCE_CATALOGUE_SECONDS,
    logLevel: value.FLAMBOYANCE_LOG_LEVEL,
  };
}

/** The environment of this process. */
export function readProcessConfig(): Config {
  return readConfig(process.env);
}

/** Every variable with its default and meaning, for `--help` and the documents. */
export function configurationTable(): { name: string; fallback: string; meaning: string }[] {
  return Object.entries(environment.shape).map(([name, schema]) => {
    const empty = schema.safeParse(undefined);
    const fallback = !empty.success ? "required" : empty.data === undefined ? "unset" : String(empty.data);
    return { name, fallback, meaning: schema.description ?? "" };
  });
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
