/** The pipe from end to end: submit, plan, chunks, results, on real processes. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { codesOf, startService, wholeBatch, type Service } from "./testing/service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

describe("a batch over a manifest", () => {
  it("gives every item its line", async () => {
    const { input, customIds } = await service.writeManifest("plain", 300);
    const { id } = await service.submit({ input });
    const batch = await service.ended(id);
    expect(batch.status).toBe("completed");
    const lines = await wholeBatch(service, id, customIds);
    expect(new Set(codesOf(lines))).toEqual(new Set(["ok"]));
  });
});
