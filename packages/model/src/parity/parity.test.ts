/** The engine equals OpenFlamingo on some cases of two references (parity.itest.ts: on all of all), and the comparison would notice if it didn't. */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compare, type Comparison } from "./compare.ts";
import { compute, type Actual } from "./compute.ts";
import { withEngine } from "./engine.ts";
import { readReference, type Reference } from "./reference.ts";
import { writeDump } from "./write.ts";

const references = join(import.meta.dirname, "..", "..", "reference");
const names = ["mpt", "video"];
const computed = new Map<string, { reference: Reference; actual: Actual }>();

beforeAll(async () => {
  for (const name of names) {
    const reference = someCases(await readReference(join(references, name)), ["caption-0", "caption-1"]);
    computed.set(name, { reference, actual: await withEngine(reference, (engine) => compute(reference, engine)) });
  }
}, 300_000);

/** Enough to see that everything is computed and compared; all cases are parity.itest.ts's. */
function someCases(reference: Reference, kept: readonly string[]): Reference {
  const cases = Object.fromEntries(Object.entries(reference.json.cases).filter(([name]) => kept.includes(name)));
  const tensors = new Map(
    [...reference.tensors].filter(([name]) => !name.startsWith("logits/") || kept.includes(name.slice("logits/".length))),
  );
  return { ...reference, json: { ...reference.json, cases }, tensors };
}

const of = (name: string): { reference: Reference; actual: Actual } => {
  const found = computed.get(name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
};
const failing = (comparisons: readonly Comparison[]): string[] =>
  comparisons.filter(({ verdict }) => verdict === "fails").map(({ quantity }) => quantity);

describe.each(names)("the reference %s", (name) => {
  it("is met in every quantity", () => {
    const { reference, actual } = of(name);
    const comparisons = compare(reference, actual);
    expect(failing(comparisons)).toEqual([]);
    expect(comparisons.filter(({ verdict }) => verdict === "holds").length).toBeGreaterThan(12);
  });
});

describe("the comparison", () => {
  it.each([
    ["patches/scene.png", "patches"],
    ["latents/scene.png", "latents"],
    ["embedding/tiny.png", "embedding"],
    ["logits/caption-1", "logits"],
    ["probabilities/2", "probabilities"],
    ["pixels/scene.png", "pixels, lossless images (levels)"],
    ["pixels/photo.jpg", "pixels, JPEG (levels)"],
  ])("notices a number of %s that is off, missing or NaN", (tensor, quantity) => {
    const { reference, actual } = of("mpt");
    const good = actual.tensors.get(tensor);
    if (good === undefined) throw new Error(`no ${tensor}`);
    for (const wrong of [0.02, NaN]) {
      const data = Float32Array.from(good.data);
      data[data.length - 1] = (data.at(-1) ?? 0) + wrong;
      const tensors = new Map(actual.tensors).set(tensor, { ...good, data });
      expect(failing(compare(reference, { ...actual, tensors }))).toEqual([quantity]);
    }
    const tensors = new Map([...actual.tensors].filter(([name]) => name !== tensor));
    expect(failing(compare(reference, { ...actual, tensors }))).toEqual([quantity]);
  });

  it("notices another token, text, order or prompt, alone and in company", () => {
    const { reference, actual } = of("mpt");
    const change = (edit: (json: Actual["json"]) => void): string[] => {
      const json = structuredClone(actual.json);
      edit(json);
      return failing(compare(reference, { ...actual, json }));
    };
    const firstCase = (json: Actual["json"]): Actual["json"]["cases"][string] =>
      Object.values(json.cases)[0] as Actual["json"]["cases"][string];
    expect(change((json) => firstCase(json).generate[0]?.tokens[0]?.push(1))).toEqual(["greedy: tokens"]);
    expect(change((json) => firstCase(json).generate[1]?.tokens[0]?.push(1))).toEqual(["beams: tokens"]);
    expect(change((json) => firstCase(json).generate[1]?.scores?.push(1))).toEqual(["beams: scores"]);
    expect(change((json) => delete firstCase(json).rank["yes"])).toEqual(["ranks: tokens", "ranks: sums and means"]);
    expect(change((json) => (firstCase(json).generate[0] as { text: string[] }).text.splice(0, 1, "other"))).toEqual(["greedy: text"]);
    expect(change((json) => firstCase(json).input_ids.pop())).toEqual(["prompt tokens"]);
    expect(change((json) => json.rices?.order["tiny.png"]?.shift())).toEqual(["rices"]);
    expect(change((json) => json.tokenizer.texts[5]?.ids.pop())).toEqual(["tokenizer"]);
    const company = { ...actual.company, together: new Map(), prefixed: new Map(), logits: new Map() };
    expect(failing(compare(reference, { ...actual, company }))).toEqual([
      "logits, all cases in one run",
      "greedy: tokens, all at once",
      "greedy: tokens, shared prefix",
      "beams: tokens, all at once",
      "beams: tokens, shared prefix",
    ]);
  });

  it("doesn't pass over a generation that the engine can't be asked for", () => {
    const { reference, actual } = of("mpt");
    const json = structuredClone(reference.json);
    for (const { generate } of Object.values(json.cases))
      Object.assign(generate[2] ?? {}, { options: { max_new_tokens: 5, typical_p: 0.5 } });
    const fault = compare({ ...reference, json }, actual).find(({ verdict }) => verdict === "fails");
    expect(fault).toMatchObject({
      quantity: "generations with unknown options",
      count: 2,
      firstFault: expect.stringContaining("typical_p"),
    });
  });

  it("doesn't read a reference that holds more than this knows", async () => {
    const folder = await mkdtemp(join(tmpdir(), "flamboyance-novel-"));
    const json = JSON.parse(await readFile(join(references, "mpt", "expected.json"), "utf8"));
    await writeFile(join(folder, "expected.safetensors"), "");
    for (const [place, key] of [
      [json, "captions"],
      [json.cases["caption-0"], "perplexity"],
      [json.cases["caption-0"].generate[0], "log_probabilities"],
      [json.sampling, "draws"],
    ]) {
      place[key] = 1;
      await writeFile(join(folder, "expected.json"), JSON.stringify(json));
      await expect(readReference(folder)).rejects.toMatchObject({ code: "model_piece_corrupt", message: expect.stringContaining(key) });
      delete place[key];
    }
    await rm(folder, { recursive: true });
  });

  it("doesn't pass over a tensor that nobody computes", () => {
    const { reference, actual } = of("mpt");
    const tensors = new Map(reference.tensors).set("novelty/1", { shape: [1], data: Float32Array.of(1) });
    expect(failing(compare({ ...reference, tensors }, actual))).toEqual(["unknown tensors"]);
  });
});

describe("a dump", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "flamboyance-dump-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("has the form of a reference: compared with itself it holds", async () => {
    const { reference, actual } = of("video");
    await writeDump(folder, actual);
    await cp(join(folder, "actual.json"), join(folder, "expected.json"));
    await cp(join(folder, "actual.safetensors"), join(folder, "expected.safetensors"));
    const dumped = await readReference(folder);
    expect([...dumped.tensors.keys()].toSorted()).toEqual([...reference.tensors.keys()].toSorted());
    expect(failing(compare(dumped, actual))).toEqual([]);
    for (const { maxError } of compare({ ...dumped, json: reference.json }, actual)) expect(maxError ?? 0).toBeLessThan(1e-4);
  });
});
