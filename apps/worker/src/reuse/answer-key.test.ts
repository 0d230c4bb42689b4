import type { BatchRequest, ResultLine } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { requestOf } from "../testing/request.ts";
import { answerKey, keyOfLine, recipeOf, type Asked } from "./answer-key.ts";

const changes: [string, Partial<BatchRequest>][] = [
  ["tenant", { tenant: "bees" }],
  ["model", { model: { name: "m", key: "k2" } }],
  ["task", { task: "vqa" }],
  ["pixel mode", { pixels: "fast" }],
  ["frames", { frames: 1 }],
  ["generation", { generation: { ...requestOf().generation, num_beams: 2 } }],
  ["seed", { generation: { ...requestOf().generation, seed: 1 } }],
];

it.each(changes)("a recipe is another with another %s", (_what, change) => {
  expect(recipeOf(requestOf(change), "p")).not.toBe(recipeOf(requestOf(), "p"));
});

it("a recipe is another with other examples, or another way to rank", () => {
  expect(recipeOf(requestOf(), "p2")).not.toBe(recipeOf(requestOf(), "p"));
  const [mean, sum] = (["mean", "sum"] as const).map((rank_by) => recipeOf(requestOf({ task: "classify", rank_by }), "p"));
  expect(sum).not.toBe(mean);
});

it("a recipe is the same whatever the batch, its model's name, its input and the order of its fields", () => {
  const { num_beams, ...rest } = requestOf().generation;
  const other = { id: "b2", input: "s3://other/", created_at: 9, model: { name: "alias", key: "k" }, generation: { num_beams, ...rest } };
  expect(recipeOf(requestOf(other), "p")).toBe(recipeOf(requestOf(), "p"));
});

const asked: Asked = { customId: "a", images: [{ sha256: "1" }, { sha256: "2" }], prompt: "p" };

it("a key is another with other images, another order or number of frames of them, or another prompt", () => {
  const keys = [
    asked,
    { ...asked, images: asked.images.toReversed() },
    { ...asked, images: [{ sha256: "1" }] },
    { ...asked, images: [{ sha256: "1" }, { sha256: "2", frames: 1 }] },
    { ...asked, images: [{ sha256: "1" }, { sha256: "2", frames: 2 }] },
    { ...asked, prompt: "q" },
  ].map((each) => answerKey(requestOf(), each).toString("hex"));
  expect(new Set(keys).size).toBe(keys.length);
});

it("an item's name is part of its key where it is drawn by it", () => {
  const other = { ...asked, customId: "b" };
  const drawn = requestOf({ generation: { ...requestOf().generation, seed: 1 } });
  expect(answerKey(requestOf(), other).equals(answerKey(requestOf(), asked))).toBe(true);
  expect(answerKey(drawn, other).equals(answerKey(drawn, asked))).toBe(false);
});

it("a line has the key of what it answers, and none where it failed or doesn't say to what", () => {
  const line = {
    id: "batch_req_1-0",
    custom_id: "a",
    response: { status_code: 200, request_id: "r", body: {} },
    error: null,
    flamingo: {
      images: [
        { image: "x", etag: null, sha256: "1" },
        { image: "y", etag: null, sha256: "2" },
      ],
      precision: "fp32",
      prompt_sha256: "p",
      timings: { fetch_ms: 0, decode_ms: 0, engine_ms: 0 },
      worker: "w",
    },
  } as unknown as ResultLine & { flamingo: object };
  expect(keyOfLine(requestOf(), line)?.equals(answerKey(requestOf(), asked))).toBe(true);
  const { flamingo } = line;
  const without: ResultLine[] = [
    { ...line, response: { status_code: 404, request_id: "r", body: { error: { message: "", type: "", param: null, code: null } } } },
    { ...line, flamingo: { ...flamingo, prompt_sha256: null } },
    { ...line, flamingo: { ...flamingo, images: [{ image: "x", etag: null, sha256: null }] } },
    { ...line, flamingo: undefined },
  ];
  expect(without.map((each) => keyOfLine(requestOf(), each))).toEqual([null, null, null, null]);
});
