/**
 * Holds the arrows of ARCHITECTURE.md: which room may import which, and which library has which owner.
 * Reads every import in every TypeScript source; an upward import, a way past a package's door or a second owner fails by name.
 */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");

/** Room → the rooms of ours that it may import. Tests, benchmarks and infra/dev stand above the apps and may import any door. */
const downward: Record<string, readonly string[]> = {
  "packages/contracts": [],
  "packages/storage": ["contracts"],
  "packages/model": ["contracts"],
  "packages/queue": ["contracts"],
  "packages/client": ["contracts"],
  "apps/api": ["contracts", "queue", "storage"],
  "apps/worker": ["contracts", "queue", "storage", "model"],
  "apps/cli": ["contracts", "client", "model"],
};

/** Library → the places that may import it. A second owner needs a reason here. */
const owners: readonly { library: RegExp; places: readonly string[] }[] = [
  { library: /^onnxruntime-/, places: ["packages/model/src/device/cpu-session.ts", "packages/model/src/device/webgpu-device.ts"] },
  { library: /^sharp$/, places: ["packages/model/src/pixels/image.ts", "packages/model/demo/"] },
  { library: /^@huggingface\/tokenizers$/, places: ["packages/model/src/tokenizer.ts"] },
  { library: /^@huggingface\/hub$/, places: ["packages/model/src/hub/repository.ts"] },
  { library: /^csv-parse/, places: ["apps/worker/src/rows/csv-rows.ts"] },
  // The measurement of manifests makes one to read.
  { library: /^hyparquet-writer/, places: ["apps/worker/src/tables/parquet-table.ts", "apps/worker/src/bench/manifest.ts"] },
  { library: /^hyparquet/, places: ["apps/worker/src/rows/parquet-rows.ts"] },
  { library: /^ipaddr\.js$/, places: ["apps/worker/src/public-address.ts"] },
  { library: /^@aws-sdk\//, places: ["packages/storage/src/"] },
  { library: /^(bullmq|ioredis)$/, places: ["packages/queue/src/", "apps/worker/src/main.ts"] },
  { library: /^(fastify|@fastify\/|fastify-)/, places: ["apps/api/src/"] },
  // Compiles what lies compiled beside its source: the test that holds both, and nobody else.
  { library: /^wabt$/, places: [] },
  { library: /^commander$/, places: ["apps/cli/src/"] },
  { library: /^pino$/, places: ["apps/worker/src/log.ts"] },
  {
    library: /^prom-client$/,
    places: [
      "apps/api/src/metrics.ts",
      "apps/api/src/operation-routes.ts",
      "apps/worker/src/metrics.ts",
      "apps/worker/src/metrics-server.ts",
    ],
  },
  { library: /^ulid$/, places: ["packages/queue/src/ulid.ts"] },
  // Where something is parsed: never in the client, which its callers bundle.
  {
    library: /^zod$/,
    places: [
      "packages/contracts/src/",
      "packages/storage/src/environment.ts",
      "packages/storage/src/buckets.ts",
      "packages/queue/src/",
      "packages/model/src/",
      "apps/",
    ],
  },
];

/** Who starts programs passes the environment on to them, or looks for them on its PATH. */
const environmentReaders = [
  "infra/dev/src/child.ts",
  "infra/dev/src/redis.ts",
  "infra/dev/src/s3/versitygw.ts",
  "infra/src/image-folder.ts",
  "infra/src/programs.ts",
];

/** An app's own reading of its environment, past its door on purpose: it is held against what deployments set. The types of a Kubernetes version, by its name. */
const computedImports = ["infra/src/app-config.ts", "infra/src/manifests.ts"];

interface Import {
  readonly file: string;
  readonly specifier: string;
}

const isTest = (file: string) => /\.i?test\.ts$|\/test-[^/]+\.ts$|\/testing\/|^test\/|^apps\/[^/]+\/test\//.test(file);
const roomOf = (file: string) => Object.keys(downward).find((room) => file.startsWith(`${room}/`));

const sources = globSync(["packages/*/{src,demo}/**/*.ts", "apps/*/src/**/*.{ts,tsx}", "infra/**/*.ts", "test/**/*.ts", "bench/**/*.ts"], {
  cwd: root,
  exclude: (path) => path.includes("node_modules") || path.includes("/dist"),
}).toSorted();
const imports: readonly Import[] = sources.flatMap((file) =>
  specifiers(readFileSync(join(root, file), "utf8")).map((specifier) => ({ file, specifier })),
);

describe("boundaries", () => {
  it("reads the sources", () => {
    expect(sources.length).toBeGreaterThan(50);
    expect(imports.length).toBeGreaterThan(sources.length);
  });

  it("finds every form of an import", () => {
    const text = `import a from "a"; import type { B } from 'b'; export { c } from "c"; import "d"; const e = await import("e"); import {\n f,\n} from "f";`;
    expect(specifiers(text)).toEqual(["a", "b", "c", "d", "e", "f"]);
  });

  it("imports only downward", () => {
    const upward = imports.filter(({ file, specifier }) => {
      const room = roomOf(file);
      const imported = /^@flamboyance\/([^/]+)/.exec(specifier)?.[1];
      if (room === undefined || imported === undefined || isTest(file)) return false;
      return !(downward[room] ?? []).includes(imported) && !room.endsWith(`/${imported}`);
    });
    expect(upward).toEqual([]);
  });

  it("enters a package through its door", () => {
    const doors = /^@flamboyance\/[^/]+$|^@flamboyance\/model\/(?:bench|demo|presets)$|^@flamboyance\/dev\/[^/]+$/;
    const around = imports.filter(({ specifier }) => specifier.startsWith("@flamboyance/") && !doors.test(specifier));
    expect(around).toEqual([]);
  });

  it("never leaves a package by a relative path", () => {
    const leaving = imports.filter(({ file, specifier }) => {
      const room = roomOf(file);
      if (room === undefined || !specifier.startsWith(".") || isTest(file)) return false;
      return relative(room, join(dirname(file), specifier)).startsWith("..");
    });
    expect(leaving).toEqual([]);
  });

  it("gives each library one owner", () => {
    const strangers = imports.filter(({ file, specifier }) => {
      const rule = owners.find(({ library }) => library.test(specifier));
      return rule !== undefined && !isTest(file) && roomOf(file) !== undefined && !rule.places.some((place) => file.startsWith(place));
    });
    expect(strangers).toEqual([]);
  });

  it("imports nothing by a computed path but where it is meant", () => {
    const computing = sources.filter((file) => !isTest(file) && computed.test(withoutComments(readFileSync(join(root, file), "utf8"))));
    expect(computing).toEqual(computedImports);
  });

  it("reads process.env only in config.ts", () => {
    const readers = sources.filter(
      (file) =>
        !isTest(file) &&
        !/\/(config|main)\.ts$/.test(file) &&
        !file.includes("/demo/") &&
        withoutComments(readFileSync(join(root, file), "utf8")).includes("process.env"),
    );
    expect(readers).toEqual(environmentReaders);
  });

  it("lists names at each door", () => {
    const doors = globSync("{packages,apps}/*/src/index.ts", { cwd: root });
    expect(doors.filter((file) => /export \*/.test(readFileSync(join(root, file), "utf8")))).toEqual([]);
  });
});

/** `import(` with anything but a text behind it. */
const computed = /\bimport\s*\(\s*[^"'\s]/;

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "");
}

function specifiers(text: string): string[] {
  return [...withoutComments(text).matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*)["']([^"'\n]+)["']/g)].flatMap((match) => match[1] ?? []);
}
