/**
 * The objects of all buckets, on disk below one folder, with their keys in memory.
 * Owns "whole or not at all": an object is one file (its bytes, then what is known of it) that is written aside and renamed into place, so a reader has the
 * old one or the new one. File names are hashes of keys: `x` and `x/y` live side by side, and no key can leave the folder.
 * Refuses durability beyond the process (no fsync) and a second server on the same folder: this is for development and tests.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { mkdir, open, readdir, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { Checksum } from "./checksum.ts";
import { compareKeys, placeOf } from "./key-order.ts";
import { S3Error } from "./s3-error.ts";

export interface ObjectFacts {
  readonly key: string;
  readonly sizeBytes: number;
  /** With its quotes. */
  readonly etag: string;
  readonly lastModified: string;
  readonly contentType: string;
  /** What the client sent as x-amz-meta-…, and further headers that come back as they were (cache-control and its like), by whole name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly checksum: Checksum | null;
}

export interface Bucket {
  readonly createdAt: Date;
  /** In S3's order. */
  readonly keys: readonly string[];
  get(key: string): ObjectFacts | undefined;
  /** The object's file, to read bytes 0 to `sizeBytes` of; the caller closes it. Null where there is none. */
  open(key: string): Promise<{ facts: ObjectFacts; file: FileHandle } | null>;
  /** Opens a new file beside the objects: write the bytes, then `commit`. */
  create(): Promise<NewObject>;
  remove(key: string): void;
  /** Where unfinished uploads lie. */
  readonly uploadsFolder: string;
}

export interface NewObject {
  write(piece: Uint8Array): Promise<void>;
  /** Puts the object in its place; `allow` is asked in the same moment, and may throw. */
  commit(facts: ObjectFacts, allow?: (existing: ObjectFacts | undefined) => void): Promise<void>;
  discard(): Promise<void>;
}

export interface Buckets {
  readonly names: readonly string[];
  get(name: string): Bucket;
  has(name: string): boolean;
  create(name: string): void;
  /** Refuses a bucket that holds objects. */
  remove(name: string): void;
}

/** Opens the folder, reading what each object's file knows of itself. What an interrupted write left is removed. */
export async function openBuckets(folder: string): Promise<Buckets> {
  const incoming = join(folder, "incoming");
  await rm(incoming, { recursive: true, force: true });
  await mkdir(incoming, { recursive: true });
  await mkdir(join(folder, "buckets"), { recursive: true });
  const buckets = new Map<string, Bucket>();
  for (const name of await readdir(join(folder, "buckets"))) {
    buckets.set(name, openBucket(join(folder, "buckets", name), incoming, await readFacts(join(folder, "buckets", name, "objects"))));
  }
  const get = (name: string): Bucket => {
    const bucket = buckets.get(name);
    if (bucket === undefined) throw new S3Error("NoSuchBucket", "The specified bucket does not exist");
    return bucket;
  };
  return {
    get names() {
      return [...buckets.keys()].toSorted();
    },
    get,
    has: (name) => buckets.has(name),
    create: (name) => {
      if (buckets.has(name))
        throw new S3Error("BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.");
      mkdirSync(join(folder, "buckets", name, "objects"), { recursive: true });
      buckets.set(name, openBucket(join(folder, "buckets", name), incoming, []));
    },
    remove: (name) => {
      if (get(name).keys.length > 0) throw new S3Error("BucketNotEmpty", "The bucket you tried to delete is not empty");
      buckets.delete(name);
      rmSync(join(folder, "buckets", name), { recursive: true, force: true });
    },
  };
}

function openBucket(folder: string, incoming: string, found: readonly ObjectFacts[]): Bucket {
  const facts = new Map(found.map((object) => [object.key, object]));
  const keys = [...facts.keys()].toSorted(compareKeys);
  const remember = (object: ObjectFacts): void => {
    if (!facts.has(object.key)) keys.splice(placeOf(keys, object.key), 0, object.key);
    facts.set(object.key, object);
  };
  const create = async (): Promise<NewObject> => {
    const path = join(incoming, randomUUID());
    const file = await open(path, "wx");
    return {
      write: async (piece) => {
        await file.appendFile(piece);
      },
      commit: async (object, allow = () => {}) => {
        await file.appendFile(encodeFacts(object));
        await file.close();
        // From here on nothing waits: the condition, the file and the list change in one step.
        allow(facts.get(object.key));
        const place = objectPath(folder, object.key);
        mkdirSync(join(place, ".."), { recursive: true });
        renameSync(path, place);
        remember(object);
      },
      discard: async () => {
        await file.close();
        await rm(path, { force: true });
      },
    };
  };
  return {
    createdAt: new Date(),
    keys,
    get: (key) => facts.get(key),
    open: async (key) => {
      if (!facts.has(key)) return null;
      const file = await open(objectPath(folder, key), "r").catch(() => null);
      if (file === null) return null;
      // What the file says, not the list: another object may have taken the name while it was opened.
      const object = await decodeFacts(file);
      return { facts: object, file };
    },
    create,
    remove: (key) => {
      if (!facts.delete(key)) return;
      keys.splice(placeOf(keys, key), 1);
      rmSync(objectPath(folder, key), { force: true });
    },
    uploadsFolder: join(folder, "uploads"),
  };
}

function objectPath(folder: string, key: string): string {
  const hash = createHash("sha256").update(key).digest("hex");
  return join(folder, "objects", hash.slice(0, 2), hash.slice(2));
}

/** Behind the bytes: JSON, and its length in four bytes. */
function encodeFacts(object: ObjectFacts): Uint8Array {
  const json = Buffer.from(JSON.stringify(object));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  return Buffer.concat([json, length]);
}

async function decodeFacts(file: FileHandle): Promise<ObjectFacts> {
  const { size } = await file.stat();
  const length = Buffer.alloc(4);
  await file.read(length, 0, 4, size - 4);
  const json = Buffer.alloc(length.readUInt32LE());
  await file.read(json, 0, json.length, size - 4 - json.length);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by encodeFacts, in a folder of our own
  return JSON.parse(json.toString("utf8")) as ObjectFacts;
}

async function readFacts(folder: string): Promise<ObjectFacts[]> {
  const found: ObjectFacts[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (!entry.isFile()) continue;
    const file = await open(join(entry.parentPath, entry.name), "r");
    found.push(await decodeFacts(file));
    await file.close();
  }
  return found;
}
