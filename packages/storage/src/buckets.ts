/**
 * Tenants' buckets: each opened with the keys that the tenant's administrator named for it, or with the service's own. A reference names a file in a mounted folder;
 * it is read anew now and then, so that keys are changed by changing the file (a role's, by whoever renews its session).
 * Owns the clients and which of them a location is for. Refuses to write or say a secret; whether a place may be touched at all is decided by the callers.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CodedError, credentialsFor, type BucketCredentials } from "@flamboyance/contracts";
import { z } from "zod";
import type { Location } from "./location.ts";
import { openStorage, type Storage, type StorageOptions } from "./storage.ts";

export interface BucketsOptions {
  /** The service's own. */
  readonly storage: Storage;
  /** As `storage` was opened: what isn't said of a bucket is as it is for the service's own. */
  readonly defaults: StorageOptions;
  /** The folder of `<secret>.json` files, `{access_key_id, secret_access_key, session_token?}`; null: no secret is known here. */
  readonly secrets: string | null;
  /** How long a file's keys are believed. Default 10 s. */
  readonly believedMs?: number;
}

export interface Buckets {
  /** A storage whose calls go, each by its location's bucket, with the keys that these credentials name. Throws as a storage does; `storage_unavailable` for a secret that isn't there. */
  of(credentials: readonly BucketCredentials[]): Storage;
  /** Closes the tenants' clients; the service's own stays open. */
  close(): void;
}

const secretFile = z.strictObject({
  access_key_id: z.string().min(1),
  secret_access_key: z.string().min(1),
  session_token: z.string().min(1).optional(),
});

interface Client {
  readonly text: string;
  readonly storage: Storage;
}

export function openBuckets({ storage: own, defaults, secrets, believedMs = 10_000 }: BucketsOptions): Buckets {
  const clients = new Map<string, Client>();
  const texts = new Map<string, { readonly text: Promise<string>; readonly untilMs: number }>();
  const outdated: Storage[] = [];

  const readSecret = (secret: string): Promise<string> => {
    const known = texts.get(secret);
    if (known !== undefined && performance.now() < known.untilMs) return known.text;
    const text =
      secrets === null
        ? Promise.reject(missing(secret))
        : readFile(join(secrets, `${secret}.json`), "utf8").catch(() => Promise.reject(missing(secret)));
    texts.set(secret, { text, untilMs: performance.now() + believedMs });
    return text;
  };

  const clientFor = async (all: readonly BucketCredentials[], { bucket }: Location): Promise<Storage> => {
    const credentials = credentialsFor(all, bucket);
    if (credentials === null) return own;
    const { secret, endpoint, region, path_style: pathStyle } = credentials;
    const text = await readSecret(secret);
    const name = JSON.stringify([secret, endpoint, region, pathStyle]);
    const known = clients.get(name);
    if (known?.text === text) return known.storage;
    // Those who use it just now are let finish; its sockets close by themselves.
    if (known !== undefined) outdated.push(known.storage);
    const keys = parseSecret(secret, text);
    const { accessKeyId: _id, secretAccessKey: _secret, sessionToken: _token, endpoint: _endpoint, ...rest } = defaults;
    const opened = openStorage({
      ...rest,
      ...keys,
      ...(endpoint === undefined ? (defaults.endpoint === undefined ? {} : { endpoint: defaults.endpoint }) : { endpoint }),
      ...(region === undefined ? {} : { region }),
      pathStyle: pathStyle ?? (endpoint === undefined ? defaults.pathStyle : true),
    });
    clients.set(name, { text, storage: opened });
    return opened;
  };

  return {
    of: (credentials) => (credentials.length === 0 ? own : routed((location) => clientFor(credentials, location), own)),
    close: () => {
      for (const { storage } of clients.values()) storage.close();
      for (const storage of outdated) storage.close();
    },
  };
}

/** Every call asks first whose it is. */
function routed(find: (location: Location) => Promise<Storage>, own: Storage): Storage {
  return {
    read: async (location, options) => (await find(location)).read(location, options),
    readRange: async (location, options) => (await find(location)).readRange(location, options),
    stream: async function* (location, options) {
      yield* (await find(location)).stream(location, options);
    },
    describe: async (location, options) => (await find(location)).describe(location, options),
    write: async (location, bytes, options) => (await find(location)).write(location, bytes, options),
    writeStream: async (location, pieces, options) => (await find(location)).writeStream(location, pieces, options),
    list: async function* (prefix, options) {
      yield* (await find(prefix)).list(prefix, options);
    },
    folders: async function* (prefix, options) {
      yield* (await find(prefix)).folders(prefix, options);
    },
    remove: async (locations, options) => {
      for (const location of locations) await (await find(location)).remove([location], options);
    },
    probeWrite: async (prefix, options) => (await find(prefix)).probeWrite(prefix, options),
    ensureBucket: async (bucket, options) => (await find({ bucket, key: "" })).ensureBucket(bucket, options),
    close: () => own.close(),
  };
}

function parseSecret(secret: string, text: string): Pick<StorageOptions, "accessKeyId" | "secretAccessKey" | "sessionToken"> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own words would hold a piece of the file.
    throw unreadable(secret);
  }
  const parsed = secretFile.safeParse(value);
  if (!parsed.success) throw unreadable(secret);
  const { access_key_id: accessKeyId, secret_access_key: secretAccessKey, session_token: sessionToken } = parsed.data;
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

/** Whoever runs the service can mend it, so it passes: it is never held against an image. */
const missing = (secret: string): CodedError => new CodedError("storage_unavailable", `the bucket keys ${secret} aren't mounted here`);
const unreadable = (secret: string): CodedError => new CodedError("storage_unavailable", `the bucket keys ${secret} can't be read`);
