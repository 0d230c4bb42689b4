/** Whatever a caller may send has a bound: every text, list, record and number of every request, and of a manifest's lines. */
import { createDatasetBatch, limits, manifestLine } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import type { Buckets, Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { z } from "zod";
import { createApp } from "./app.ts";

type Schema = Readonly<Record<string, unknown>>;
const isSchema = (value: unknown): value is Schema => typeof value === "object" && value !== null && !Array.isArray(value);
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

interface OpenApiDocument {
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Schema };
}
interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly schema: Schema }[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema: Schema }> };
}

/** The places below `schema` that have no bound. */
function unbounded(schema: unknown, place: string, named: Schema, seen: ReadonlySet<unknown> = new Set()): string[] {
  if (!isSchema(schema) || seen.has(schema)) return [];
  const within = new Set([...seen, schema]);
  const below = (part: unknown, name: string): string[] => unbounded(part, `${place}${name}`, named, within);
  const { $ref: reference, type } = schema;
  if (typeof reference === "string") return below(named[reference.split("/").at(-1) ?? ""], "");
  const found = ["anyOf", "oneOf", "allOf"].flatMap((union) => listOf(schema[union]).flatMap((form) => below(form, "")));
  if ("enum" in schema || "const" in schema || "not" in schema) return found;
  const types = listOf(type).length > 0 ? listOf(type) : [type];
  const lacks = (kind: string, ...bounds: string[]) => types.includes(kind) && !bounds.every((bound) => bound in schema);
  if (lacks("string", "maxLength")) found.push(`${place}: a text`);
  if (lacks("array", "maxItems")) found.push(`${place}: a list`);
  for (const kind of ["number", "integer"]) {
    const least = "exclusiveMinimum" in schema ? "exclusiveMinimum" : "minimum";
    if (lacks(kind, least, "exclusiveMaximum" in schema ? "exclusiveMaximum" : "maximum")) found.push(`${place}: a number`);
  }
  if (isSchema(schema["additionalProperties"])) {
    if (!("maxProperties" in schema)) found.push(`${place}: a record`);
    found.push(...below(schema["additionalProperties"], ".*"), ...below(schema["propertyNames"], ".<name>"));
  }
  if (isSchema(schema["properties"]))
    for (const [name, part] of Object.entries(schema["properties"])) found.push(...below(part, `.${name}`));
  return [...found, ...below(schema["items"], "[]")];
}

it("every field of every request has a bound", async () => {
  const away = { queue: {} as Queue, storage: {} as Storage, buckets: {} as Buckets };
  const app = await createApp({ ...away, bucket: "service", keys: [], logLevel: "silent" });
  const document = (await app.inject({ url: "/openapi.json" })).json<OpenApiDocument>();
  await app.close();
  let looked = 0;
  const found = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { parameters = [], requestBody }]) => {
      const parts = [
        ...parameters.map(({ name, schema }) => [name, schema] as const),
        ...Object.values(requestBody?.content ?? {}).map(({ schema }) => ["body", schema] as const),
      ];
      looked += parts.length;
      return parts.flatMap(([name, schema]) => unbounded(schema, `${method} ${path} ${name}`, document.components.schemas));
    }),
  );
  expect(looked).toBeGreaterThan(15);
  // A record's size has no word in zod: its bound is a refinement, which is looked at here.
  expect(found).toEqual(["post /v1/batches body.metadata: a record"]);
  const pairs = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`key ${index}`, ""]));
  const taken = (count: number) => createDatasetBatch.shape.metadata.safeParse(pairs(count)).success;
  expect([taken(limits.metadataPairs), taken(limits.metadataPairs + 1)]).toEqual([true, false]);
});

it("every field of a manifest's line has a bound", () => {
  expect(unbounded(z.toJSONSchema(manifestLine, { io: "input" }), "line", {})).toEqual([]);
});

it("would find a text, a list, a record and a number without one", () => {
  const loose = z.object({
    a: z.string(),
    b: z.array(z.string().max(1)),
    c: z.record(z.string().max(1), z.boolean()),
    d: z.number().min(0),
    e: z.union([z.enum(["x"]), z.object({ f: z.string().optional() })]),
  });
  expect(unbounded(z.toJSONSchema(loose), "x", {}).toSorted()).toEqual([
    "x.a: a text",
    "x.b: a list",
    "x.c: a record",
    "x.d: a number",
    "x.e.f: a text",
  ]);
});
