/**
 * Videos through the whole service with a model that tells frames apart: lists of images answer as OpenFlamingo's own code says of these frames,
 * animations as the engine does when it is given the frames that the law chooses. And, with the same model, large images in exact and in fast pixels.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Batch, CreateDatasetBatchInput, ResultLine } from "@flamboyance/contracts";
import { decodePixels, openModel, type Model } from "@flamboyance/model";
import { jsonLine } from "@flamboyance/storage";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { publishReference, referenceImages } from "./testing/reference-model.ts";
import { codesOf, customerBucket, startService, wholeBatch, type Service } from "./testing/service.ts";

const modelName = "video";
const { signal } = new AbortController();
const at = (name: string) => `s3://${customerBucket}/images/${name}`;
const frame = (number: number) => `frame-${number}.png`;
const images = (...numbers: readonly number[]) => numbers.map((number) => at(frame(number)));

let service: Service;
let model: Model;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "flamboyance-model-"));
  service = await startService({
    environment: { FLAMBOYANCE_ENGINE: "model", FLAMBOYANCE_ENGINE_THREADS: "1" },
    prepare: (storage, prepared) => publishReference(modelName, folder, storage, prepared),
  });
  model = await openModel(folder, { threads: 1 });
});
afterAll(async () => {
  await model.close();
  await service.close();
  await rm(folder, { recursive: true, force: true });
});

const put = (key: string, bytes: Uint8Array | string) =>
  service.storage.write({ bucket: customerBucket, key }, bytes, { contentType: "application/octet-stream", signal });

/** One item per entry, by its own name; the batch at its end, and its lines. */
async function run(
  name: string,
  items: Readonly<Record<string, { readonly image?: string; readonly images?: readonly string[]; readonly question?: string }>>,
  changes: Partial<CreateDatasetBatchInput> = {},
): Promise<{ readonly batch: Batch; readonly lines: readonly ResultLine[] }> {
  const lines = Object.entries(items).map(([custom_id, shown]) => jsonLine({ custom_id, ...shown }));
  await put(`${name}.jsonl`, lines.join(""));
  const { id } = await service.submit({ model: modelName, input: `s3://${customerBucket}/${name}.jsonl`, ...changes });
  const batch = await service.ended(id);
  return { batch, lines: batch.status === "completed" ? await wholeBatch(service, id, Object.keys(items)) : [] };
}

function choiceOf({ response }: ResultLine | { readonly response: null }) {
  if (response?.body === undefined || "error" in response.body) throw new Error(`an item failed: ${JSON.stringify(response?.body)}`);
  const [choice] = response.body.choices;
  if (choice === undefined) throw new Error("an item has no choice");
  return choice;
}

describe("a list of images", () => {
  it("answers as OpenFlamingo does of these frames, also behind an example that is a video", async () => {
    const video = { images: images(0, 1, 2) };
    const alone = await run("alone", { video }, { examples: [{ text: "A red circle." }, { text: "Two cats, and a dog." }] });
    expect(alone.lines.map((line) => choiceOf(line).message.content)).toEqual(["What image of Question:What is"]);
    const generation = { num_beams: 1, max_new_tokens: 20 };
    const behind = await run("behind", { video }, { examples: [{ images: images(3, 2, 0), text: "Three blue squares." }], generation });
    expect(behind.lines.map((line) => choiceOf(line).message.content)).toEqual(["n image of Question:What is Short answer:What"]);
    const asked = await run(
      "asked",
      { video: { images: ["scene.png", "photo.jpg", "gray.png"].map(at), question: "Is there a dog?" } },
      {
        task: "vqa",
        examples: [
          { question: "What is left?", answer: "red" },
          { question: "How many?", answer: "two" },
        ],
        generation: { num_beams: 3, max_new_tokens: 12, length_penalty: -1 },
      },
    );
    expect(asked.lines.map((line) => choiceOf(line).message.content)).toEqual(["circle"]);
  });

  it("is as many frames as the model takes, or as the batch asks for", async () => {
    // Of nine the model, which takes four, sees numbers 1, 3, 5 and 7; asked for three, 1, 4 and 7.
    const nine = { images: images(3, 0, 3, 1, 2, 3, 1, 3, 2) };
    const generation = { num_beams: 1, max_new_tokens: 12, logprobs: true };
    const all = await run("nine", { nine, four: { images: images(0, 1, 3, 3) } }, { generation });
    expect(choiceOf(all.lines[0] ?? { response: null })).toEqual(choiceOf(all.lines[1] ?? { response: null }));
    const three = await run("three", { nine, three: { images: images(0, 2, 3) } }, { generation, frames: 3 });
    expect(choiceOf(three.lines[0] ?? { response: null })).toEqual(choiceOf(three.lines[1] ?? { response: null }));
    expect(choiceOf(three.lines[0] ?? { response: null })).not.toEqual(choiceOf(all.lines[0] ?? { response: null }));
  });

  it("fails alone, with the place of the frame that can't be read", async () => {
    await put("images/half.png", (await readFile(join(referenceImages, frame(0)))).subarray(0, 4_000));
    const { batch, lines } = await run("broken", {
      half: { images: [...images(0), at("half.png"), at("gone.png")] },
      gone: { images: [...images(0, 1), at("gone.png")] },
      whole: { images: images(0, 1) },
    });
    expect(batch.status).toBe("completed");
    expect(codesOf(lines)).toEqual(["image_unreadable", "image_not_found", "ok"]);
    const messages = lines.map(({ response }) =>
      response?.body !== undefined && "error" in response.body ? response.body.error.message : "",
    );
    expect(messages[0]).toMatch(/^images\[1\]: /);
    expect(messages[1]).toMatch(/^images\[2\]: /);
  });

  it("fails its batch where it is an example's and can't be read", async () => {
    const example = { images: [...images(0), at("gone.png")], text: "a bird" };
    const { batch } = await run("example", { one: { image: at("scene.png") } }, { examples: [example] });
    expect(batch).toMatchObject({ status: "failed", errors: { data: [{ code: "bad_example", param: "examples[0].images[1]" }] } });
  });
});

describe.each(["gif", "webp"] as const)("a %s animation", (format) => {
  // No frame beside its equal: encoders make one of two.
  const shown = [3, 0, 2, 3, 1, 3, 1, 2, 3];
  const delay = shown.map(() => 40);
  let bytes: Buffer;
  beforeAll(async () => {
    const stack = sharp(
      shown.map((number) => join(referenceImages, frame(number))),
      { join: { animated: true } },
    );
    bytes = await (format === "gif" ? stack.gif({ delay }) : stack.webp({ delay, lossless: true })).toBuffer();
    await put(`images/animation.${format}`, bytes);
  });

  /** What the engine says by itself of these frames, each decoded as an image of its own. */
  async function direct(numbers: readonly number[]) {
    const frames: Float32Array[] = [];
    for (const page of numbers) {
      const image = await sharp(bytes, { page }).removeAlpha().png().toBuffer();
      frames.push(await decodePixels(image, model.description.preprocessing, { maxPixels: 1e6 }));
    }
    const generation = { maxNewTokens: 12, logProbabilities: true };
    const { text, logProbabilities = [] } = await model.generate({ id: "direct", text: "<image>Output:", media: [frames], generation });
    return { text: text.trim(), logprobs: logProbabilities.map(({ logProbability }) => logProbability) };
  }

  it.each([
    ["its first frame where none are asked for", undefined, [0]],
    ["its middle frame where one is", 1, [4]],
    ["three, evenly spaced", 3, [1, 4, 7]],
    ["as many as the model takes", 4, [1, 3, 5, 7]],
  ] as const)("shows %s", async (_what, frames, numbers) => {
    const generation = { num_beams: 1, max_new_tokens: 12, logprobs: true };
    const items = { animation: { image: at(`animation.${format}`) } };
    const { lines } = await run(`${format}-${frames ?? "first"}`, items, { generation, ...(frames === undefined ? {} : { frames }) });
    const { message, logprobs } = choiceOf(lines[0] ?? { response: null });
    const [expected, another] = [await direct(numbers), await direct([3, 6])];
    expect(message.content).toBe(expected.text);
    const apart = (other: readonly number[]) =>
      Math.max(...(logprobs?.content ?? []).map(({ logprob }, index) => Math.abs(logprob - (other[index] ?? NaN))));
    expect(apart(expected.logprobs)).toBeLessThan(1e-4);
    // The figures tell frames apart: of others the text or how likely it is differs.
    expect(another.text === expected.text && apart(another.logprobs) < 1e-3).toBe(false);
  });
});

describe("a large JPEG", () => {
  const [width, height] = [601, 401];
  const generation = { num_beams: 1, max_new_tokens: 6, logprobs: true };
  let bytes: Buffer;
  beforeAll(async () => {
    const stripes = Uint8Array.from({ length: width * height * 3 }, (_, place) => (Math.trunc(place / 3) % 23 < 9 ? 250 : place % 97));
    bytes = await sharp(stripes, { raw: { width, height, channels: 3 } })
      .jpeg()
      .toBuffer();
    await put("images/stripes.jpg", bytes);
  });

  const likelihoods = async (pixels: "exact" | "fast", shown: string, changes: Partial<CreateDatasetBatchInput> = {}) => {
    const { lines } = await run(`${pixels}-${shown}`, { shown: { image: at(shown) } }, { generation, pixels, ...changes });
    const { logprobs } = choiceOf(lines[0] ?? { response: null });
    return (logprobs?.content ?? []).map(({ logprob }) => logprob);
  };
  const apart = (one: readonly number[], other: readonly number[]) =>
    Math.max(...one.map((number, index) => Math.abs(number - (other[index] ?? NaN))));

  it("is seen exactly, or fast where the batch asks for it", async () => {
    const expected = async (pixels: "exact" | "fast") => {
      const large = await decodePixels(bytes, model.description.preprocessing, { maxPixels: 1e6, pixels });
      const options = { maxNewTokens: 6, logProbabilities: true };
      const answer = await model.generate({ id: pixels, text: "<image>Output:", media: [[large]], generation: options });
      return (answer.logProbabilities ?? []).map(({ logProbability }) => logProbability);
    };
    const [exact, fast] = [await likelihoods("exact", "stripes.jpg"), await likelihoods("fast", "stripes.jpg")];
    expect(apart(exact, await expected("exact"))).toBeLessThan(1e-4);
    expect(apart(fast, await expected("fast"))).toBeLessThan(1e-4);
    expect(apart(exact, fast)).toBeGreaterThan(1e-4);
  });

  it("is seen so in an example, too; a PNG is the same in both", async () => {
    const examples = [{ image: at("stripes.jpg"), text: "stripes" }];
    const both = async (changes: Partial<CreateDatasetBatchInput>) =>
      apart(await likelihoods("exact", frame(1), changes), await likelihoods("fast", frame(1), changes));
    expect(await both({ examples })).toBeGreaterThan(1e-5);
    expect(await both({})).toBe(0);
  });
});

it("refuses a submit that asks for more frames than the model takes", async () => {
  await expect(service.submit({ model: modelName, input: `s3://${customerBucket}/images/*.gif`, frames: 5 })).rejects.toMatchObject({
    code: "invalid_request",
    param: "frames",
  });
});
