import { item, limits, type BatchRequest } from "@flamboyance/contracts";
import type { Storage } from "@flamboyance/storage";
import { describe, expect, it } from "vitest";
import { readManifest, type ManifestEntry } from "./manifest.ts";
import { holding } from "./testing/manifest-storage.ts";
import { requestOf } from "./testing/request.ts";

const request = requestOf({ input: "s3://photos/manifest.jsonl" });

async function read(storage: Storage, further: Partial<BatchRequest> = {}): Promise<ManifestEntry[]> {
  const entries: ManifestEntry[] = [];
  const options = { serviceBucket: "service", signal: new AbortController().signal };
  for await (const piece of readManifest(storage, { ...request, ...further }, options)) entries.push(...piece);
  return entries;
}

const brief = (entries: readonly ManifestEntry[]) =>
  entries.map((entry) =>
    entry.kind === "item" ? entry.item.custom_id : `${entry.refused.line}: ${entry.refused.code} ${entry.refused.param ?? ""}`.trim(),
  );

describe("a manifest", () => {
  it("gives items with their line numbers, over blank lines, a byte order mark and foreign line ends", async () => {
    const entries = await read(
      holding('\uFEFF{"custom_id":"a","image":"s3://photos/1"}\r\n\r\n  \n{"custom_id":"b","image":"s3://photos/2"}'),
    );
    expect(entries).toEqual([
      { kind: "item", item: { custom_id: "a", line: 1, image: "s3://photos/1", question: null } },
      { kind: "item", item: { custom_id: "b", line: 4, image: "s3://photos/2", question: null } },
    ]);
  });

  it.each([
    ["text", "cat", "1: invalid_json_line"],
    ["a list", "[]", "1: invalid_json_line"],
    ["null", "null", "1: invalid_json_line"],
    ["bytes that aren't UTF-8", Buffer.from([0x7b, 0xff, 0x7d]), "1: invalid_json_line"],
    ["a line that is too long", " ".repeat(limits.manifestLineBytes + 1), "1: line_too_long"],
    ["no custom_id", '{"image":"s3://photos/1"}', "1: invalid_line custom_id"],
    ["an empty custom_id", '{"custom_id":"","image":"s3://photos/1"}', "1: invalid_line custom_id"],
    ["a custom_id that is no text", '{"custom_id":1,"image":"s3://photos/1"}', "1: invalid_line custom_id"],
    ["an image by another protocol", '{"custom_id":"a","image":"http://photos.example/1"}', "1: invalid_line image"],
    ["credentials in an address", '{"custom_id":"a","image":"https://me:secret@photos.example/1"}', "1: invalid_line image"],
    ["a host that its tenant may not use", '{"custom_id":"a","image":"https://photos.example/1"}', "1: bucket_not_allowed image"],
    ["a bucket that its tenant may not use", '{"custom_id":"a","image":"s3://others/1"}', "1: bucket_not_allowed image"],
    ["the service's own bucket", '{"custom_id":"a","image":"s3://service/open/1"}', "1: bucket_not_allowed image"],
    ["one of several images elsewhere", '{"custom_id":"a","images":["s3://photos/1","s3://others/2"]}', "1: bucket_not_allowed images.1"],
    ["a way out of its folder", '{"custom_id":"a","image":"s3://photos/../others/1"}', "1: invalid_line image"],
    ["a field that nobody knows", '{"custom_id":"a","image":"s3://photos/1","qestion":"?"}', "1: invalid_line qestion"],
  ])("refuses a line with %s", async (_what, line, expected) => {
    expect(brief(await read(holding(line)))).toEqual([expected]);
  });

  it("keeps a custom_id only for its first whole line", async () => {
    const line = '{"custom_id":"a","image":"s3://photos/1"}\n';
    expect(brief(await read(holding(`{"custom_id":"a"}\n${line}${line}`)))).toEqual([
      "1: invalid_line image",
      "a",
      "3: duplicate_custom_id custom_id",
    ]);
  });

  it("needs a question for vqa: the line's, or the batch's", async () => {
    const lines = '{"custom_id":"a","image":"s3://photos/1","question":"own"}\n{"custom_id":"b","image":"s3://photos/1"}\n';
    expect(brief(await read(holding(lines), { task: "vqa" }))).toEqual(["a", "2: invalid_line question"]);
    const entries = await read(holding(lines), { task: "vqa", question: "all's" });
    expect(entries.map((entry) => entry.kind === "item" && entry.item.question)).toEqual(["own", "all's"]);
  });

  it("needs a prompt or labels for their tasks, and keeps a line's own alone", async () => {
    const lines =
      '{"custom_id":"a","image":"s3://photos/1","prompt":"Its size:","labels":["one","two"]}\n{"custom_id":"b","image":"s3://photos/1"}\n';
    const itemsOf = async (further: Partial<BatchRequest>): Promise<unknown[]> =>
      (await read(holding(lines), further)).map((entry) => (entry.kind === "item" ? entry.item : null));
    const plain = { image: "s3://photos/1", question: null };
    const [first, second] = [
      { custom_id: "a", line: 1, ...plain },
      { custom_id: "b", line: 2, ...plain },
    ];
    expect(brief(await read(holding(lines), { task: "prompt" }))).toEqual(["a", "2: invalid_line prompt"]);
    expect(await itemsOf({ task: "prompt", prompt: "Colour:" })).toEqual([{ ...first, prompt: "Its size:" }, second]);
    expect(brief(await read(holding(lines), { task: "classify" }))).toEqual(["a", "2: invalid_line labels"]);
    expect(await itemsOf({ task: "classify", labels: ["a bird", "a cat"] })).toEqual([{ ...first, labels: ["one", "two"] }, second]);
    expect(await itemsOf({})).toEqual([first, second]);
  });
});

describe("an image's ETag", () => {
  const line = (fields: object) => `${JSON.stringify({ custom_id: "a", ...fields })}\n`;
  const etags = (entries: readonly ManifestEntry[]) =>
    entries.map((entry) => (entry.kind === "item" && "image" in entry.item ? entry.item.etag : entry.kind));

  it("is frozen with it, from its line or its prefix, without quotes", async () => {
    const image = "s3://photos/1";
    const lines = [{ image, etag: '"abc-2"' }, { image, etag: "abc" }, { image }, { image, etag: '""' }];
    const all = lines.map((fields, at) => line({ ...fields, custom_id: String(at) })).join("");
    expect(etags(await read(holding(all)))).toEqual(["abc-2", "abc", undefined, undefined]);
    expect(etags(await read(holding("", ["1.jpg"]), { input: "s3://photos/" }))).toEqual(["of 1.jpg"]);
  });

  it("is one image's: not a list's", async () => {
    expect(brief(await read(holding(line({ images: ["s3://photos/1"], etag: "abc" }))))).toEqual(["1: invalid_line etag"]);
  });
});

describe("columns", () => {
  const lines = '{"id":"a","url":"s3://photos/1","custom_id":5,"more":1}\n{"id":"b","image":"s3://photos/2"}\n';

  it("give our fields other names, of which no other column is taken", async () => {
    expect(brief(await read(holding(lines), { columns: { custom_id: "id", image: "url" } }))).toEqual(["a", "2: invalid_line image"]);
    expect(brief(await read(holding(lines), { columns: { custom_id: "id" } }))).toEqual(["1: invalid_line image", "b"]);
  });

  it("may be one for two fields", async () => {
    const entries = await read(holding('{"image":"s3://photos/1"}\n'), { columns: { custom_id: "image" } });
    expect(entries).toMatchObject([{ kind: "item", item: { custom_id: "s3://photos/1", image: "s3://photos/1" } }]);
  });

  it("that are none of ours are refused, unless some are mentioned", async () => {
    const own = '{"custom_id":"a","image":"s3://photos/1","more":1}\n';
    expect(brief(await read(holding(own)))).toEqual(["1: invalid_line more"]);
    expect(brief(await read(holding(own), { columns: {} }))).toEqual(["a"]);
  });

  it("hold lists as JSON in a table's cells, and in lines as lists alone", async () => {
    const csv = { input: "s3://photos/manifest.csv", task: "classify" } as const;
    const table = 'custom_id,image,images,labels\na,s3://photos/1,,"[""one"",""two""]"\nb,,"[""s3://photos/1""]",one\n';
    expect(brief(await read(holding(table), csv))).toEqual(["a", "3: invalid_line labels"]);
    expect(brief(await read(holding('{"custom_id":"a","images":"[\\"s3://photos/1\\"]"}')))).toEqual(["1: invalid_line images"]);
  });

  it("of a table without an id or an image among them are refused once, with the file", async () => {
    const table = "id,url\n1,s3://photos/1\n2,s3://photos/2\n";
    await expect(read(holding(table), { input: "s3://photos/manifest.csv", on_invalid: "skip" })).rejects.toMatchObject({
      code: "invalid_header",
      line: 1,
      param: "columns.custom_id",
      message: "s3://photos/manifest.csv: there is no column custom_id, and none image (or images); there are id, url",
    });
  });
});

describe("a video's line", () => {
  const line = (fields: object) => `${JSON.stringify({ custom_id: "a", ...fields })}\n`;
  const images = ["s3://photos/1", "s3://photos/2", "s3://photos/1"];

  it("keeps its list whole and in order", async () => {
    const entries = await read(holding(line({ images })));
    expect(entries).toEqual([{ kind: "item", item: { custom_id: "a", line: 1, images, question: null } }]);
    // As a worker reads it back, and as older plans wrote an image.
    for (const stored of [
      ...entries.map((entry) => entry.kind === "item" && entry.item),
      { custom_id: "b", line: 2, image: "s3://photos/1", question: null },
    ])
      expect(item.parse(JSON.parse(JSON.stringify(stored)))).toEqual(stored);
  });

  it.each([
    ["neither image nor images", {}, "image"],
    ["both", { image: "s3://photos/1", images }, "images"],
    ["an empty list", { images: [] }, "images"],
    ["a list that is too long", { images: Array.from({ length: limits.imagesPerItem + 1 }, () => "s3://photos/1") }, "images"],
    ["an image elsewhere in its list", { images: ["s3://photos/1", "2"] }, "images.1"],
  ])("is refused with %s", async (_what, fields, param) => {
    expect(brief(await read(holding(line(fields))))).toEqual([`1: invalid_line ${param}`]);
  });
});

describe("a prefix", () => {
  it("gives the keys that its pattern takes, as they are", async () => {
    const keys = ["a/1.jpg", "a/2.png", "a/b/3.jpg", "a/b/"];
    expect(brief(await read(holding("", keys), { input: "s3://photos/a/**/*.jpg" }))).toEqual(["a/1.jpg", "a/b/3.jpg"]);
    expect(brief(await read(holding("", keys), { input: "s3://photos/a/" }))).toEqual(["a/1.jpg", "a/2.png", "a/b/3.jpg"]);
  });

  it("gives of them what is included and not excluded", async () => {
    const keys = ["a/1.jpg", "a/2.png", "a/b/3.jpg", "a/c/4.jpg", "x/5.jpg"];
    const narrowed = { input: "s3://photos/a/", include: ["**/*.jpg"], exclude: ["c/"] };
    expect(brief(await read(holding("", keys), narrowed))).toEqual(["a/1.jpg", "a/b/3.jpg"]);
  });

  it("may be a whole bucket", async () => {
    expect(brief(await read(holding("", ["1.jpg", "a/2.jpg"]), { input: "s3://photos/" }))).toEqual(["1.jpg", "a/2.jpg"]);
  });

  it.each([
    ["vqa", "question"],
    ["prompt", "prompt"],
    ["classify", "labels"],
  ] as const)("needs, for %s, the batch's %s", async (task, param) => {
    const prefix = { input: "s3://photos/a/", task };
    await expect(read(holding("", ["a/1.jpg"]), prefix)).rejects.toMatchObject({ code: "invalid_line", param });
  });
});

it.each(["s3://others/manifest.jsonl", "s3://service/open/"])("doesn't read %s, which isn't the tenant's", async (input) => {
  await expect(read(holding("{}"), { input, access: { read: ["photos", "service"], write: [], credentials: [] } })).rejects.toMatchObject({
    code: "manifest_forbidden",
  });
});
