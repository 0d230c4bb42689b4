/** packages/storage held against every S3 server. It stands here because storage may not import what stands above it. */
import { createHash } from "node:crypto";
import { openStorage, type Location, type Storage } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { testServers, type RunningTestServer } from "./test-servers.ts";

const { signal } = new AbortController();
const at = (key: string): Location => ({ bucket: "storage", key });
const text = { contentType: "text/plain", signal };

async function* pieces(count: number, sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let index = 0; index < count; index++) yield Buffer.alloc(sizeBytes, index);
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of stream) all.push(piece);
  return Buffer.concat(all);
}

describe.each(testServers())("storage on $name", (testServer) => {
  let server: RunningTestServer;
  let storage: Storage;
  beforeAll(async () => {
    server = await testServer.start();
    storage = openStorage({ ...server, pathStyle: true, maxSockets: 16 });
    await storage.ensureBucket("storage", { signal });
  });
  afterAll(async () => {
    storage.close();
    await server.close();
  });

  const keysBelow = async (prefix: string, more = {}) =>
    (await Array.fromAsync(storage.list(at(prefix), { signal, ...more }))).map(({ key }) => key);

  it("reads what it wrote, from bytes and from text", async () => {
    const { etag } = await storage.write(at("bytes"), new Uint8Array([0, 255, 10]), { contentType: "image/png", signal });
    expect(await storage.read(at("bytes"), { signal })).toEqual({ bytes: Buffer.from([0, 255, 10]), etag, contentType: "image/png" });
    await storage.write(at("text"), "naïve 😀", text);
    expect(Buffer.from((await storage.read(at("text"), { signal })).bytes).toString()).toBe("naïve 😀");
    await storage.write(at("empty"), "", text);
    expect((await storage.read(at("empty"), { signal })).bytes).toHaveLength(0);
    expect(await collect(storage.stream(at("empty"), { signal }))).toHaveLength(0);
  });

  it("refuses an object with more bytes than its reader allows", async () => {
    await storage.write(at("limited"), "12345", text);
    expect((await storage.read(at("limited"), { signal, maxBytes: 5 })).bytes).toHaveLength(5);
    await expect(storage.read(at("limited"), { signal, maxBytes: 4 })).rejects.toMatchObject({ code: "storage_too_large" });
  });

  it("reads exactly the range that is asked for, or says that the object is another", async () => {
    await storage.write(at("ranged"), "0123456789", text);
    const range = async (offsetBytes: number, lengthBytes: number) =>
      Buffer.from(await storage.readRange(at("ranged"), { signal, offsetBytes, lengthBytes })).toString();
    expect([await range(0, 10), await range(0, 3), await range(7, 3), await range(4, 0)]).toEqual(["0123456789", "012", "789", ""]);
    await expect(range(8, 3)).rejects.toMatchObject({ code: "storage_changed" });
    await expect(range(10, 1)).rejects.toMatchObject({ code: "storage_changed" });
  });

  it("streams from an offset, and nothing from the end on", async () => {
    await storage.write(at("streamed"), "0123456789", text);
    const from = async (offsetBytes: number) => (await collect(storage.stream(at("streamed"), { signal, offsetBytes }))).toString();
    expect([await from(0), await from(6), await from(10), await from(11)]).toEqual(["0123456789", "6789", "", ""]);
  });

  it("reads only the object that its reader means", async () => {
    const { etag } = await storage.write(at("meant"), "first", text);
    expect((await storage.read(at("meant"), { signal, ifMatch: etag })).etag).toBe(etag);
    await storage.write(at("meant"), "second", text);
    await expect(storage.read(at("meant"), { signal, ifMatch: etag })).rejects.toMatchObject({ code: "storage_precondition_failed" });
    await expect(collect(storage.stream(at("meant"), { signal, ifMatch: etag }))).rejects.toMatchObject({
      code: "storage_precondition_failed",
    });
  });

  it("says what isn't there, and that its own keys aren't good", async () => {
    await expect(storage.read(at("no/such"), { signal })).rejects.toMatchObject({ code: "storage_not_found" });
    await expect(storage.read({ bucket: "no-such-bucket", key: "x" }, { signal })).rejects.toMatchObject({ code: "storage_not_found" });
    expect(await storage.describe(at("no-such"), { signal })).toBeNull();
    // Keys that are rotated or wrong say nothing of the object; a HEAD's 403 doesn't tell why.
    const stranger = openStorage({ ...server, secretAccessKey: "wrong", pathStyle: true, retries: 0 });
    await expect(stranger.read(at("text"), { signal })).rejects.toMatchObject({ code: "storage_unavailable" });
    await expect(stranger.probeWrite(at("text"), { signal })).rejects.toMatchObject({ code: "storage_unavailable" });
    await expect(stranger.describe(at("text"), { signal })).rejects.toMatchObject({ code: "storage_forbidden" });
    stranger.close();
  });

  it("describes an object", async () => {
    const { etag } = await storage.write(at("described"), "12345", { contentType: "application/jsonl", signal });
    const described = await storage.describe(at("described"), { signal });
    expect(described).toMatchObject({ sizeBytes: 5, etag, contentType: "application/jsonl" });
    expect(Math.abs((described?.lastModified.getTime() ?? 0) - Date.now())).toBeLessThan(3_600_000);
  });

  it("doesn't replace where it is told not to", async () => {
    await storage.write(at("kept"), "first", { ...text, ifNoneMatch: "*" });
    await expect(storage.write(at("kept"), "second", { ...text, ifNoneMatch: "*" })).rejects.toMatchObject({
      code: "storage_precondition_failed",
    });
  });

  it("writes a short stream, a long one and an empty one whole, with their SHA-256", async () => {
    for (const [key, count] of [
      ["short", 3],
      ["long", 400],
      ["none", 0],
    ] as const) {
      const written = await storage.writeStream(at(`streams/${key}`), pieces(count, 64_000), { contentType: "application/x-test", signal });
      const expected = await collect(pieces(count, 64_000));
      expect(written).toEqual({ sizeBytes: count * 64_000, sha256: createHash("sha256").update(expected).digest("hex") });
      expect((await collect(storage.stream(at(`streams/${key}`), { signal }))).equals(expected)).toBe(true);
      expect(await storage.describe(at(`streams/${key}`), { signal })).toMatchObject({ contentType: "application/x-test" });
    }
  });

  it("writes a stream of exactly whole parts", async () => {
    const written = await storage.writeStream(at("streams/exact"), pieces(2, 8 * 1024 * 1024), text);
    expect((await storage.describe(at("streams/exact"), { signal }))?.sizeBytes).toBe(written.sizeBytes);
    expect(written.sizeBytes).toBe(16 * 1024 * 1024);
  });

  it("leaves no object where a stream's source fails", async () => {
    const fault = new Error("the source failed");
    async function* failing(count: number): AsyncGenerator<Uint8Array> {
      yield* pieces(count, 1_000_000);
      throw fault;
    }
    await expect(storage.writeStream(at("failed/early"), failing(1), text)).rejects.toBe(fault);
    await expect(storage.writeStream(at("failed/late"), failing(20), text)).rejects.toBe(fault);
    expect(await keysBelow("failed/")).toEqual([]);
  });

  it("leaves no object where a stream is given up, even by a source that never ends", async () => {
    const given = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield* pieces(20, 1_000_000);
      given.abort(new Error("cancelled"));
      await new Promise(() => {});
    }
    const writing = storage.writeStream(at("given-up/stream"), endless(), { ...text, signal: given.signal });
    await expect(writing).rejects.toMatchObject({ code: "aborted", cause: { message: "cancelled" } });
    expect(await keysBelow("given-up/")).toEqual([]);
  });

  it("lists past a page, in order, from a key on, and by folder", async () => {
    const keys = Array.from({ length: 1_050 }, (_, index) => `listed/${String(index).padStart(4, "0")} é+&.jpg`);
    const left = [...keys];
    const write = async (): Promise<void> => {
      for (let key = left.pop(); key !== undefined; key = left.pop()) await storage.write(at(key), "12", text);
    };
    await Promise.all(Array.from({ length: 16 }, write));
    await storage.write(at("listed/folder/below"), "x", text);
    const listed = await Array.fromAsync(storage.list(at("listed/"), { signal }));
    expect(listed.map(({ key }) => key)).toEqual([...keys, "listed/folder/below"]);
    expect(listed[0]).toMatchObject({ sizeBytes: 2, etag: expect.stringMatching(/^"/) as string });
    expect(await keysBelow("listed/", { startAfter: keys[1_047] })).toEqual([...keys.slice(1_048), "listed/folder/below"]);
    expect(await keysBelow("listed/", { delimiter: "/" })).toEqual(keys);
    // Leaving a listing early is no error.
    for await (const { key } of storage.list(at("listed/"), { signal })) {
      expect(key).toBe(keys[0]);
      break;
    }
    await storage.remove([...keys, "listed/folder/below", "listed/never-there"].map(at), { signal });
    expect(await keysBelow("listed/")).toEqual([]);
  });

  it("lists folders, however much lies in them, from one on", async () => {
    const folders = ["a", "a-", "b é", "c"].map((name) => `folders/${name}/`);
    for (const folder of folders) for (const name of ["1", "2", "deep/3"]) await storage.write(at(folder + name), "", text);
    await storage.write(at("folders/none"), "", text);
    const below = (options: { startAfter?: string } = {}) => Array.fromAsync(storage.folders(at("folders/"), { signal, ...options }));
    // In byte order a slash stands behind a hyphen.
    const inOrder = folders.toSorted();
    expect(await below()).toEqual(inOrder);
    for (const [index, folder] of inOrder.entries()) expect(await below({ startAfter: folder })).toEqual(inOrder.slice(index + 1));
  });

  it("probes a prefix and leaves nothing there", async () => {
    await storage.probeWrite(at("probed/"), { signal });
    expect(await keysBelow("probed/")).toEqual([]);
    await expect(storage.probeWrite({ bucket: "no-such-bucket", key: "" }, { signal })).rejects.toMatchObject({
      code: "storage_not_found",
    });
  });

  it("makes a bucket once", async () => {
    await Promise.all([storage.ensureBucket("made-twice", { signal }), storage.ensureBucket("made-twice", { signal })]);
    await storage.ensureBucket("made-twice", { signal });
    await storage.write({ bucket: "made-twice", key: "x" }, "x", text);
  });
});
