import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createHash } from "node:crypto";
import { readModelFolder, writeModelFolder } from "./folder.ts";
import type { ImportedModel } from "./import/pieces.ts";
import { smallestModel } from "./testing/smallest-model.ts";

const without = (name: string): ImportedModel => {
  const imported = smallestModel();
  return { ...imported, tensors: new Map([...imported.tensors].filter(([key]) => key !== name)) };
};
const withTensor = (name: string, like: string): ImportedModel => {
  const imported = smallestModel();
  const tensor = imported.tensors.get(like);
  if (tensor === undefined) throw new Error(`no ${like}`);
  return { ...imported, tensors: new Map([...imported.tensors, [name, tensor]]) };
};

describe("a model folder", () => {
  let parent: string;
  let folder: string;
  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), "flamboyance-folder-"));
    folder = join(parent, "tiny");
  });
  afterEach(() => rm(parent, { recursive: true }));

  it("is read as it was written, with every file's size and hash", async () => {
    const written = await writeModelFolder(smallestModel(), folder);
    expect(await readModelFolder(folder)).toEqual(written);
    expect(written.name).toBe("tiny");
    expect((await readdir(folder)).toSorted()).toEqual([...Object.keys(written.files), "flamingo.json"].toSorted());
    for (const [file, { sizeBytes, sha256 }] of Object.entries(written.files)) {
      const bytes = await readFile(join(folder, file));
      expect([bytes.length, createHash("sha256").update(bytes).digest("hex")]).toEqual([sizeBytes, sha256]);
    }
  });

  it("has the same content hash for equal content under any name, and another for other weights", async () => {
    const first = await writeModelFolder(smallestModel(), folder);
    const renamed = await writeModelFolder(smallestModel(), join(parent, "other"), { name: "another name" });
    const other = await writeModelFolder(smallestModel(2), join(parent, "third"));
    expect(renamed.contentHash).toBe(first.contentHash);
    expect(other.contentHash).not.toBe(first.contentHash);
  });

  it("replaces the one that stood there, and leaves nothing beside it", async () => {
    await writeModelFolder(smallestModel(2), folder);
    const written = await writeModelFolder(smallestModel(1), folder);
    expect((await readModelFolder(folder)).contentHash).toBe(written.contentHash);
    expect(await readdir(parent)).toEqual(["tiny"]);
  });

  it("never replaces a folder that holds anything but a model", async () => {
    await mkdir(folder);
    await writeFile(join(folder, "thesis.txt"), "years of work");
    await expect(writeModelFolder(smallestModel(), folder)).rejects.toMatchObject({ code: "model_folder_invalid" });
    expect(await readdir(folder)).toEqual(["thesis.txt"]);
    expect(await readdir(parent)).toEqual(["tiny"]);
    await rm(join(folder, "thesis.txt"));
    await writeModelFolder(smallestModel(), folder);
    expect(await readdir(folder)).toContain("flamingo.json");
  });

  it("isn't there after a write that failed or was given up", async () => {
    await expect(writeModelFolder(smallestModel(), folder, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "aborted" });
    const broken = smallestModel();
    const tensor = broken.tensors.get("decoder.embedding");
    if (tensor === undefined) throw new Error("no embedding");
    const tensors = new Map(broken.tensors).set("decoder.embedding", { ...tensor, read: () => Promise.resolve(new Uint8Array(4)) });
    await expect(writeModelFolder({ ...broken, tensors }, folder)).rejects.toMatchObject({
      code: "model_piece_corrupt",
      param: "decoder.embedding",
    });
    expect(await readdir(parent)).toEqual([]);
  });

  it("refuses a missing, a surplus and a misshapen tensor by name", async () => {
    await expect(writeModelFolder(without("resampler.latents"), folder)).rejects.toMatchObject({
      code: "tensor_missing",
      param: "resampler.latents",
    });
    await expect(writeModelFolder(withTensor("decoder.extra", "decoder.embedding"), folder)).rejects.toMatchObject({
      code: "tensor_surplus",
      param: "decoder.extra",
    });
    await expect(writeModelFolder(withTensor("vision.class_embedding", "decoder.embedding"), folder)).rejects.toMatchObject({
      code: "tensor_misshapen",
      param: "vision.class_embedding",
    });
  });

  it("tells how far it is, up to the last byte", async () => {
    const seen: number[] = [];
    let total = 0;
    await writeModelFolder(smallestModel(), folder, {
      onProgress: ({ doneBytes, totalBytes }) => {
        seen.push(doneBytes);
        total = totalBytes;
      },
    });
    expect(seen.at(-1)).toBe(total);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  it("is invalid where flamingo.json is missing, isn't JSON or doesn't fit, or a file is missing or cut short", async () => {
    const invalid = { code: "model_folder_invalid" };
    await expect(readModelFolder(folder)).rejects.toMatchObject(invalid);
    const written = await writeModelFolder(smallestModel(), folder);
    await truncate(join(folder, "decoder.data"), 10);
    await expect(readModelFolder(folder)).rejects.toMatchObject(invalid);
    await rm(join(folder, "decoder.data"));
    await expect(readModelFolder(folder)).rejects.toMatchObject(invalid);
    await writeFile(join(folder, "flamingo.json"), JSON.stringify({ ...written, formatVersion: 1 }));
    await expect(readModelFolder(folder)).rejects.toMatchObject({
      ...invalid,
      message: expect.stringMatching(/formatVersion .*import the model again/),
    });
    await writeFile(join(folder, "flamingo.json"), "{");
    await expect(readModelFolder(folder)).rejects.toMatchObject(invalid);
  });
});
