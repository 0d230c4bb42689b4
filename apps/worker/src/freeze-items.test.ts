import { batchKeys, type Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { freezeItems } from "./freeze-items.ts";
import type { ManifestEntry } from "./manifest.ts";
import { requestOf } from "./testing/request.ts";

it("gives a plan up that alone keeps more bytes than its tenant may, and reads no further", async () => {
  const request = requestOf({ quotas: { stored_bytes: 100_000 } });
  let read = 0;
  async function* endless(): AsyncGenerator<readonly ManifestEntry[]> {
    for (;;) {
      read += 1;
      const item = { custom_id: `item-${read}`, line: read, image: `s3://photos/${read}`, question: null };
      yield [{ kind: "item", item }];
    }
  }
  const used: Pick<Storage, "writeStream"> = {
    writeStream: async (_location, pieces) => {
      let sizeBytes = 0;
      for await (const piece of pieces) sizeBytes += piece.length;
      return { sizeBytes, sha256: "hash" };
    },
  };
  const options = { request, keys: batchKeys(request.id).plan("plan"), notes: { read: () => null }, signal: new AbortController().signal };
  const frozen = freezeItems(used as Storage, "service", endless(), options);
  await expect(frozen).rejects.toMatchObject({ code: "quota_exceeded" });
  expect(read).toBeLessThan(2_000);
});
