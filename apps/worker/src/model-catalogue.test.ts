import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import type { Storage } from "@flamboyance/storage";
import { afterEach, beforeEach, expect, it } from "vitest";
import { copyModel, type FoundModel } from "./model-catalogue.ts";

const signal = new AbortController().signal;
const bytes = Buffer.from("weights");
const found: FoundModel = {
  name: "m",
  key: `${"0".repeat(64)}-fp32`,
  description: Buffer.from("{}"),
  files: { "decoder.onnx": { sizeBytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") } },
};

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "catalogue-"));
});
afterEach(() => rm(cache, { recursive: true, force: true }));

function copy(stream: () => AsyncGenerator<Uint8Array>, into = cache) {
  const storage: Partial<Storage> = { stream };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that a copy uses
  return copyModel({ storage: storage as Storage, bucket: "service", signal }, found, into);
}

it("a copy whose bytes aren't those that the description names is refused, and leaves nothing", async () => {
  const wrong = async function* () {
    yield Buffer.from("weighed");
  };
  await expect(copy(wrong)).rejects.toMatchObject({ code: "model_folder_invalid" });
  expect(await readdir(cache)).toEqual([]);
});

it("a copy that breaks off is thrown as it broke, and leaves nothing", async () => {
  const broken = async function* () {
    yield bytes.subarray(0, 3);
    throw new CodedError("storage_unavailable", "the body broke");
  };
  await expect(copy(broken)).rejects.toMatchObject({ code: "storage_unavailable" });
  expect(await readdir(cache)).toEqual([]);
});

it("a file that can't be written rejects the copy", async () => {
  const unwritable: FoundModel = { ...found, files: { ["x".repeat(300)]: { sizeBytes: 1, sha256: "" } } };
  const storage: Partial<Storage> = {
    async *stream() {
      yield bytes;
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that a copy uses
  const copying = copyModel({ storage: storage as Storage, bucket: "service", signal }, unwritable, cache);
  await expect(copying).rejects.toMatchObject({ code: "ENAMETOOLONG" });
});
