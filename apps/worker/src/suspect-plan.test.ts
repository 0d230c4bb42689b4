import { describe, expect, it } from "vitest";
import { takePlanNotes, type Touched } from "./suspect-plan.ts";

interface Told {
  readonly id: string;
  readonly attempt: string;
  readonly what: string | null;
}

function notesOf({
  suspect = true,
  convicted = [],
  holds = () => true,
}: {
  suspect?: boolean;
  convicted?: string[];
  holds?: () => boolean;
}) {
  const told: Told[] = [];
  const queue = {
    notePlan: (note: Told) => {
      told.push(note);
      return Promise.resolve(holds());
    },
  };
  return { told, notes: takePlanNotes(queue, { id: "batch_1", attempt: "a", suspect, convicted }) };
}
const example: Touched = { kind: "example", index: 1, place: 2 };

describe("a suspect plan's notes", () => {
  it("are of each thing that is touched, and of nothing behind the last", async () => {
    const { told, notes } = notesOf({});
    const touched: (Touched | null)[] = [
      example,
      { ...example, place: null },
      { kind: "manifest", line: 0 },
      { kind: "image", at: 8 },
      null,
    ];
    for (const what of touched) await notes.touch(what);
    expect(told.map(({ what }) => what)).toEqual(["example 1 2", "example 1 -", "manifest 0", "image 8", null]);
    expect(told[0]).toMatchObject({ id: "batch_1", attempt: "a" });
  });

  it("hold while the thing is worked on, and not while its failure is dealt with", async () => {
    const { told, notes } = notesOf({});
    const seen = () => told.map(({ what }) => what);
    expect(await notes.during(example, () => Promise.resolve(seen()))).toEqual(["example 1 2"]);
    await expect(notes.during({ kind: "image", at: 8 }, () => Promise.reject(new Error("no image")))).rejects.toThrow("no image");
    expect(seen()).toEqual(["example 1 2", null, "image 8", null]);
  });

  it("of a manifest are one a stretch", async () => {
    const { told, notes } = notesOf({});
    for (let lines = 0; lines <= 25_000; lines += 1) await notes.read(lines);
    expect(told.map(({ what }) => what)).toEqual(["manifest 0", "manifest 10000", "manifest 20000"]);
  });

  it("aren't made where the plan isn't suspect", async () => {
    const { told, notes } = notesOf({ suspect: false });
    await notes.touch(example);
    expect(notes.read(0)).toBeNull();
    expect(told).toEqual([]);
  });

  it("refuse what is convicted, unnoted, and nothing else", async () => {
    const { told, notes } = notesOf({ convicted: ["example 1 2", "image 8"] });
    await expect(notes.touch(example)).rejects.toMatchObject({ code: "poison_item" });
    await expect(notes.touch({ kind: "image", at: 8 })).rejects.toMatchObject({ code: "poison_item" });
    expect(told).toEqual([]);
    await notes.touch({ ...example, place: 3 });
    await notes.touch({ kind: "image", at: 1 });
    await notes.touch({ kind: "manifest", line: 0 });
    expect(told).toHaveLength(3);
  });

  it("refuse a manifest from its beginning on where one stretch of it is convicted, and say which", async () => {
    const { notes } = notesOf({ convicted: ["manifest 20000"] });
    await expect(notes.read(0)).rejects.toMatchObject({
      code: "poison_manifest",
      message: expect.stringContaining("lines 20001 to 30000") as string,
    });
  });

  it("end where another claim plans the batch by now", async () => {
    const { notes } = notesOf({ holds: () => false });
    expect(notes.isOvertaken()).toBe(false);
    await expect(notes.touch(example)).rejects.toMatchObject({ code: "aborted" });
    expect(notes.isOvertaken()).toBe(true);
  });
});
