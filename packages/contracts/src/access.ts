/**
 * What a tenant's batches may touch: places to read from, places to write to, and with whose keys its buckets are opened (by name; the keys themselves stand in no
 * object of ours). A pattern is a bucket (`photos`, `demo-*`), a folder in one (`photos/2024/`, with a slash at its end, so that `photos/2024-private/` isn't meant too),
 * or, for reading alone, hosts of the web (`https://images.example.com`, `https://*`). `*` stands for any characters of a bucket's or host's name.
 */
import { z } from "zod";
import { limits } from "./limits.ts";

const bucketPart = /^[a-z0-9.*-]{1,63}$/;
const hostPattern = /^https:\/\/[a-z0-9.*-]{1,253}$/;

/** Of the segments of a folder: what clients on the way would resolve as a path. */
const isStep = (segment: string): boolean => segment === "." || segment === "..";

const bucketPattern = z
  .string()
  .min(1)
  .max(limits.patternCharacters)
  .refine((text) => isBucketPattern(text), "must be a bucket's name, * allowed, or bucket/folder/");
const readPattern = z
  .string()
  .min(1)
  .max(limits.patternCharacters)
  .refine((text) => isBucketPattern(text) || hostPattern.test(text), "must be a bucket's name, * allowed, bucket/folder/, or https://host");

/** What a name of something in the configuration may be: it becomes part of keys, files and log lines. */
export const plainName = z
  .string()
  .max(64)
  .regex(/^[a-z0-9][a-z0-9._-]*$/, "must be lower-case letters, digits, dot, dash or underscore");

/** Keys of these buckets' owner, by reference: `secret` names a file in a folder that the service's processes have mounted. */
export const bucketCredentials = z.strictObject({
  buckets: z.array(z.string().max(63).regex(bucketPart, "must be a bucket's name, * allowed")).min(1).max(limits.accessPatterns),
  secret: plainName.describe("The file `<secret>.json` in the service's FLAMBOYANCE_BUCKET_CREDENTIALS; never a key itself."),
  endpoint: z
    .url({ protocol: /^https?$/ })
    .max(limits.urlCharacters)
    .optional()
    .describe("Where these buckets are, if not where the service's own is."),
  region: z
    .string()
    .max(64)
    .regex(/^[a-z0-9-]+$/, "must be a region's name")
    .optional(),
  path_style: z
    .boolean()
    .optional()
    .describe("true: bucket in the path; false: in the host name. Default: true where an endpoint is given."),
});
export type BucketCredentials = z.infer<typeof bucketCredentials>;

export const access = z.strictObject({
  read: z
    .array(readPattern)
    .max(limits.accessPatterns)
    .default([])
    .describe("What batches may read: `photos`, `demo-*`, `photos/2024/`, `https://images.example.com`, `https://*`."),
  write: z
    .array(bucketPattern)
    .max(limits.accessPatterns)
    .default([])
    .describe("Where results may be copied: `results`, `results/birds/`."),
  credentials: z
    .array(bucketCredentials)
    .max(limits.bucketCredentials)
    .default([])
    .describe("Keys of buckets that the service's own keys don't open, by reference; the first that names the bucket holds."),
});
export type Access = z.infer<typeof access>;

/** Whether the patterns name this object, or, where the key is a prefix, everything that begins with it. */
export function placeAllowed(patterns: readonly string[], { bucket, key }: { readonly bucket: string; readonly key: string }): boolean {
  return patterns.some((pattern) => {
    if (hostPattern.test(pattern)) return false;
    const { name, folder } = partsOf(pattern);
    return wildcardMatches(name, bucket) && key.startsWith(folder);
  });
}

/** Whether images of this host may be read. */
export function hostAllowed(patterns: readonly string[], host: string): boolean {
  return patterns.some((pattern) => hostPattern.test(pattern) && wildcardMatches(pattern.slice("https://".length), host));
}

/** The credentials that open the bucket; null: the service's own. */
export function credentialsFor(all: readonly BucketCredentials[], bucket: string): BucketCredentials | null {
  return all.find(({ buckets }) => buckets.some((pattern) => wildcardMatches(pattern, bucket))) ?? null;
}

function isBucketPattern(text: string): boolean {
  const { name, folder } = partsOf(text);
  if (!bucketPart.test(name)) return false;
  return text === name || (folder.endsWith("/") && folder !== "/" && !folder.split("/").some(isStep));
}

function partsOf(pattern: string): { readonly name: string; readonly folder: string } {
  const slash = pattern.indexOf("/");
  return slash < 0 ? { name: pattern, folder: "" } : { name: pattern.slice(0, slash), folder: pattern.slice(slash + 1) };
}

/** Steps back to the last star only, so that no pattern costs more than its length times the text's. */
function wildcardMatches(pattern: string, text: string): boolean {
  let [at, place, star, resume] = [0, 0, -1, 0];
  while (at < text.length) {
    if (pattern[place] === "*") {
      star = place++;
      resume = at;
    } else if (pattern[place] === text[at]) {
      place += 1;
      at += 1;
    } else if (star >= 0) {
      place = star + 1;
      at = ++resume;
    } else return false;
  }
  while (pattern[place] === "*") place += 1;
  return place === pattern.length;
}
