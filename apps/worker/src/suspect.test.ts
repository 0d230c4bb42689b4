import { CodedError, type Item } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { createMetrics } from "./metrics.ts";
import { openPixelCache } from "./pixel-cache.ts";
import { openReadAhead } from "./read-ahead.ts";
import { runOneByOne } from "./suspect.ts";
import { requestOf } from "./testing/request.ts";

const { signal } = new AbortController();
const items = ["a", "b", "c"].map((custom_id, index): Item => ({
  custom_id,
  line: index + 1,
  question: null,
  image: `s3://photos/${custom_id}.png`,
}));

/** Runs items 4, 5 and 6, none of whose images is there; writes down what happens. */
function run(
  options: {
    quarantined?: readonly number[];
    lost?: number;
    read?: (key: string) => void;
    signal?: AbortSignal;
    numbers?: readonly number[];
  } = {},
) {
  const { quarantined = [], lost = null, read = () => {}, numbers } = options;
  const chunk = items.map((item, index): Item => ({ ...item, ...(numbers === undefined ? {} : { number: numbers[index] }) }));
  const events: string[] = [];
  const dependencies = {
    buckets: {
      of: () => ({
        read: ({ key }: { key: string }) => {
          events.push(`reads ${key}`);
          read(key);
          return Promise.reject(new CodedError("storage_not_found", key));
        },
      }),
    },
    queue: {
      note: ({ item }: { item: number | null }) => {
        events.push(`notes ${item}`);
        return Promise.resolve(item === null || item !== lost);
      },
    },
    serviceBucket: "service",
    readAhead: openReadAhead({ slots: 4, maxBytes: 1_000 }),
    pixelCache: openPixelCache({ maxBytes: 1_000 }),
    metrics: createMetrics(() => Promise.resolve([])),
  } as unknown as Parameters<typeof runOneByOne>[0];
  const model = { name: "m", maxFrames: 1 } as unknown as Parameters<typeof runOneByOne>[1];
  const batch = { request: requestOf(), plan: {}, prefix: null } as unknown as Parameters<typeof runOneByOne>[2];
  const suspect = { id: "batch_1", chunk: 1, attempt: "x", quarantined };
  const running = runOneByOne(dependencies, model, batch, { items: chunk, firstItem: 4 }, suspect, options.signal ?? signal);
  const codes = running.then((results) =>
    results?.map((result) => {
      const body = result?.line.response?.body;
      return body !== undefined && "error" in body ? body.error.code : null;
    }),
  );
  return { events, codes };
}

it("each item is noted before it runs, one after the other, and behind the last nobody is", async () => {
  const { events, codes } = run();
  expect(await codes).toEqual(["image_not_found", "image_not_found", "image_not_found"]);
  expect(events).toEqual(["notes 4", "reads a.png", "notes 5", "reads b.png", "notes 6", "reads c.png", "notes null"]);
});

it("a retry's items are noted, and quarantined, by the numbers that they had", async () => {
  const { events, codes } = run({ numbers: [12, 40, 41], quarantined: [40] });
  expect(await codes).toEqual(["image_not_found", "poison_item", "image_not_found"]);
  expect(events).toEqual(["notes 12", "reads a.png", "notes 41", "reads c.png", "notes null"]);
});

it("a quarantined item isn't run, and has its error", async () => {
  const { events, codes } = run({ quarantined: [5, 77] });
  expect(await codes).toEqual(["image_not_found", "poison_item", "image_not_found"]);
  expect(events.filter((event) => event.includes("5") || event.includes("b.png"))).toEqual([]);
});

it("nothing runs any more once the claim is another's", async () => {
  const { events, codes } = run({ lost: 5 });
  expect(await codes).toBeUndefined();
  expect(events).toEqual(["notes 4", "reads a.png", "notes 5"]);
});

it("a signal leaves the rest unrun; a passing fault is thrown", async () => {
  const given = new AbortController();
  const stopped = run({ signal: given.signal, read: () => given.abort(new Error("cancelled")) });
  expect(await stopped.codes).toEqual([null, null, null]);
  const away = run({
    read: () => {
      throw new CodedError("storage_unavailable", "S3 is away");
    },
  });
  await expect(away.codes).rejects.toMatchObject({ code: "storage_unavailable" });
});
