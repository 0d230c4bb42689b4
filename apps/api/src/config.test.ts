import { readFileSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newTenantKey } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { configurationTable, readConfig } from "./config.ts";

const { entry } = await newTenantKey({ tenant: "demo", name: "main", buckets: ["demo-*"] });
const least = {
  FLAMBOYANCE_BUCKET: "service",
  FLAMBOYANCE_KEYS: JSON.stringify([entry]),
  AWS_ACCESS_KEY_ID: "id",
  AWS_SECRET_ACCESS_KEY: "secret",
};

it("needs a bucket, keys and S3 credentials, and has a default for everything else", () => {
  const config = readConfig(least);
  expect(config.keys).toEqual([entry]);
  expect(config.redis).toEqual({ url: "redis://127.0.0.1:6379", prefix: "flamboyance" });
  expect(config.s3.pathStyle).toBe(false);
  for (const name of Object.keys(least)) {
    expect(() => readConfig({ ...least, [name]: undefined })).toThrow(
      expect.objectContaining({ code: "configuration_invalid", param: name }),
    );
  }
});

it("takes an empty variable for an unset one", () => {
  expect(readConfig({ ...least, REDIS_URL: "", FLAMBOYANCE_S3_ENDPOINT: "" }).s3.endpoint).toBeUndefined();
  expect(() => readConfig({ ...least, FLAMBOYANCE_BUCKET: "" })).toThrow(/FLAMBOYANCE_BUCKET is not set/);
});

it("goes by paths where an endpoint is given, unless told otherwise", () => {
  const endpoint = { ...least, FLAMBOYANCE_S3_ENDPOINT: "http://127.0.0.1:9000" };
  expect(readConfig(endpoint).s3.pathStyle).toBe(true);
  expect(readConfig({ ...endpoint, FLAMBOYANCE_S3_PATH_STYLE: "false" }).s3.pathStyle).toBe(false);
});

it("names the variable that is wrong", () => {
  expect(() => readConfig({ ...least, FLAMBOYANCE_PORT: "http" })).toThrow(expect.objectContaining({ param: "FLAMBOYANCE_PORT" }));
  expect(() => readConfig({ ...least, REDIS_URL: "localhost:6379" })).toThrow(expect.objectContaining({ param: "REDIS_URL" }));
  expect(() => readConfig({ ...least, FLAMBOYANCE_KEYS: "[{}]" })).toThrow(/FLAMBOYANCE_KEYS is wrong at 0/);
  expect(() => readConfig({ ...least, FLAMBOYANCE_KEYS: JSON.stringify([entry, entry]) })).toThrow(/one key twice/);
  const second = { ...entry, name: "second", sha256: "0".repeat(64), weight: 2 };
  expect(() => readConfig({ ...least, FLAMBOYANCE_KEYS: JSON.stringify([entry, second]) })).toThrow(/two weights/);
  const bounded = { ...second, weight: 1, quotas: { running_batches: 2 } };
  expect(() => readConfig({ ...least, FLAMBOYANCE_KEYS: JSON.stringify([entry, bounded]) })).toThrow(/two quotas/);
  expect(() => readConfig({ ...least, FLAMBOYANCE_KEYS: JSON.stringify([{ ...bounded, quotas: { batches: 2 } }]) })).toThrow(
    /wrong at 0.quotas/,
  );
  expect(() => readConfig({ ...least, FLAMBOYANCE_KEYS: JSON.stringify([{ ...entry, weight: 0 }]) })).toThrow(/wrong at 0.weight/);
});

it("reads keys from a file too", () => {
  const file = join(mkdtempSync(join(tmpdir(), "flamboyance-")), "keys.json");
  expect(() => readConfig({ ...least, FLAMBOYANCE_KEYS: file })).toThrow(/can't be read/);
  writeFileSync(file, JSON.stringify([entry]));
  expect(readConfig({ ...least, FLAMBOYANCE_KEYS: file }).keys).toEqual([entry]);
});

it("gives a tenant the weight 1 where its key says none", () => {
  const { weight: _, ...older } = entry;
  expect(readConfig({ ...least, FLAMBOYANCE_KEYS: JSON.stringify([older]) }).keys).toEqual([{ ...older, weight: 1 }]);
});

it("docs/configuration.md tells every variable with its default", () => {
  const document = readFileSync(new URL("../../../docs/configuration.md", import.meta.url), "utf8");
  for (const { name, fallback, meaning } of configurationTable()) expect(document).toContain(`| \`${name}\` | ${fallback} | ${meaning} |`);
});
