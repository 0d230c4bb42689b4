import { batchKeys, type Storage } from "@flamboyance/storage";
import { describe, expect, it } from "vitest";
import { freezeItems } from "./freeze-items.ts";
import { KeptBytes } from "./kept-bytes.ts";
import type { ManifestEntry } from "./manifest.ts";
import { requestOf } from "./testing/request.ts";

/** Reads such a manifest until the plan is given up; answers how many entries that took. `before`: bytes that the examples keep. */
async function readUntilOver(entryOf: (line: number) => ManifestEntry, before = 0): Promise<number> {
  const request = requestOf({ quotas: { stored_bytes: 100_000 }, on_invalid: "skip" });
  let read = 0;
  async function* endless(): AsyncGenerator<readonly ManifestEntry[]> {
    for (;;) yield [entryOf(++read)];
  }
  const used: Pick<Storage, "writeStream"> = {
    writeStream: async (_location, pieces) => {
      let sizeBytes = 0;
      for await (const piece of pieces) sizeBytes += piece.length;
      return { sizeBytes, sha256: "hash" };
    },
  };
  const kept = new KeptBytes(request);
  kept.add(before);
  const options = {
    request,
    keys: batchKeys(request.id).plan("plan"),
    notes: { read: () => null },
    kept,
    signal: new AbortController().signal,
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that a plan without an end uses
  await expect(freezeItems(used as Storage, "service", endless(), options)).rejects.toMatchObject({ code: "quota_exceeded" });
  return read;
}

const itemOf = (line: number): ManifestEntry => ({
  kind: "item",
  item: { custom_id: `item-${line}`, line, image: `s3://photos/${line}`, question: null },
});
const refusedOf = (line: number): ManifestEntry => ({
  kind: "refused",
  refused: { code: "invalid_line", message: "isn't JSON", param: null, line, custom_id: null },
});

describe("a plan that alone keeps more bytes than its tenant may is given up, and read no further", () => {
  it("where its items do", async () => expect(await readUntilOver(itemOf)).toBeLessThan(2_000));
  it("where its refused lines do", async () => expect(await readUntilOver(refusedOf)).toBeLessThan(2_000));
  it("where its examples nearly do", async () => expect(await readUntilOver(itemOf, 99_900)).toBeLessThan(3));
});
