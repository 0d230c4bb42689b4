import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { configurationTable, readConfig } from "./config.ts";

const least = { FLAMBOYANCE_BUCKET: "service", AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret" };

it("starts with little, and takes an empty variable as unset", () => {
  const config = readConfig({ ...least, FLAMBOYANCE_MODELS: "", FLAMBOYANCE_S3_ENDPOINT: "" });
  expect(config).toMatchObject({
    bucket: "service",
    models: null,
    engine: { kind: "model" },
    s3: { pathStyle: false, region: "us-east-1" },
  });
});

it("reads lists, times and the engine", () => {
  const config = readConfig({
    ...least,
    FLAMBOYANCE_MODELS: "a, b,",
    FLAMBOYANCE_LOCK_SECONDS: "1.5",
    FLAMBOYANCE_ENGINE: "none",
    FLAMBOYANCE_S3_ENDPOINT: "http://s3",
  });
  expect(config).toMatchObject({
    models: ["a", "b"],
    lockMs: 1_500,
    engine: { kind: "none", gate: null },
    s3: { endpoint: "http://s3", pathStyle: true },
  });
});

it.each([
  ["FLAMBOYANCE_BUCKET", undefined, "FLAMBOYANCE_BUCKET is not set"],
  ["FLAMBOYANCE_ENGINE", "cuda", "FLAMBOYANCE_ENGINE"],
  ["FLAMBOYANCE_METRICS_PORT", "70000", "FLAMBOYANCE_METRICS_PORT"],
  ["REDIS_URL", "http://redis", "REDIS_URL"],
])("names a wrong %s", (name, value, message) => {
  expect(() => readConfig({ ...least, [name]: value })).toThrow(message);
});

it("docs/configuration.md tells every variable with its default", () => {
  const document = readFileSync(new URL("../../../docs/configuration.md", import.meta.url), "utf8");
  for (const { name, fallback, meaning } of configurationTable()) expect(document).toContain(`| \`${name}\` | ${fallback} | ${meaning} |`);
});
