import { describe, expect, it } from "vitest";
import { chunkJobId, parseJobId, queueName } from "./jobs.ts";

describe("job ids", () => {
  it("of a chunk carry batch, chunk and dispatch number, and no colon, which BullMQ refuses", () => {
    const handOut = { id: "batch_01jd-x", chunk: 12, dispatch: 345 };
    expect(parseJobId("chunk", chunkJobId(handOut))).toEqual(handOut);
    expect(chunkJobId(handOut)).not.toContain(":");
  });

  it("of plan and finalize are the batch's id", () => {
    expect(parseJobId("plan", "batch_01jd-3-4").id).toBe("batch_01jd-3-4");
  });

  it("refuses an id that isn't a chunk's", () => {
    expect(() => parseJobId("chunk", "batch_01jd")).toThrow(TypeError);
  });
});

describe("queues", () => {
  it("are one for plan, one for finalize, one a model", () => {
    expect([queueName("plan"), queueName("finalize"), queueName("chunk", "ab-fp32")]).toEqual(["plan", "finalize", "chunk-ab-fp32"]);
  });
});
