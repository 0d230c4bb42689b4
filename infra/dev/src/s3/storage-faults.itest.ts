/** packages/storage against an S3 that fails: what passes is tried again, what doesn't is named, and nothing comes out short. */
import { openStorage, type Location, type Storage, type StorageOptions } from "@flamboyance/storage";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { freePort } from "../port.ts";
import type { Fault } from "./server.ts";
import { startTestServer, type RunningTestServer } from "./test-servers.ts";

const { signal } = new AbortController();
const at = (key: string): Location => ({ bucket: "faulty", key });
const text = { contentType: "text/plain", signal };
const bytes = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => index % 251));

let server: RunningTestServer;
let storage: Storage;
/** What the next requests for the key "object" meet, in order; then all is well. */
let faults: (Fault | null)[];
let requests: string[];

beforeEach(async () => {
  faults = [];
  requests = [];
  server = await startTestServer({
    deny: (_, key) => key.startsWith("denied"),
    faults: ({ method, key }) => {
      if (key !== "object") return null;
      requests.push(method);
      return faults.shift() ?? null;
    },
  });
  storage = open();
  await storage.ensureBucket("faulty", { signal });
});
afterEach(async () => {
  storage.close();
  await server.close();
});

const open = (more: Partial<StorageOptions> = {}): Storage => openStorage({ ...server, pathStyle: true, retries: 2, ...more });

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of stream) all.push(piece);
  return Buffer.concat(all);
}

describe("a passing fault", () => {
  it.each([
    ["a 503", { kind: "error", code: "SlowDown" }],
    ["a 500", { kind: "error", code: "InternalError" }],
    ["a reset", { kind: "reset" }],
  ] as const)("%s is tried again", async (_, fault) => {
    faults = [fault, fault];
    await storage.write(at("object"), "arrived", text);
    faults = [fault, fault];
    expect(Buffer.from((await storage.read(at("object"), { signal })).bytes).toString()).toBe("arrived");
    faults = [fault];
    expect(await storage.describe(at("object"), { signal })).toMatchObject({ sizeBytes: 7 });
    expect(requests).toEqual(["PUT", "PUT", "PUT", "GET", "GET", "GET", "HEAD", "HEAD"]);
  });

  it("an answer that is lost or late leaves the deed done", async () => {
    faults = [{ kind: "lostAnswer" }, { kind: "slow", byMs: 1 }];
    await storage.write(at("object"), "arrived", text);
    faults = [{ kind: "lostAnswer" }, { kind: "slow", byMs: 1 }];
    expect(Buffer.from((await storage.read(at("object"), { signal })).bytes).toString()).toBe("arrived");
    expect(requests).toEqual(["PUT", "PUT", "GET", "GET"]);
    faults = Array.from({ length: 3 }, () => ({ kind: "lostAnswer" }));
    await expect(storage.write(at("object"), "unheard", text)).rejects.toMatchObject({ code: "storage_unavailable" });
    expect(Buffer.from((await storage.read(at("object"), { signal })).bytes).toString()).toBe("unheard");
  });

  it("that doesn't pass is storage_unavailable", async () => {
    faults = Array.from({ length: 3 }, () => ({ kind: "error", code: "ServiceUnavailable" }));
    await expect(storage.read(at("object"), { signal })).rejects.toMatchObject({ code: "storage_unavailable", retryable: true });
    expect(requests).toEqual(["GET", "GET", "GET"]);
  });

  it("is no answer in time, too", async () => {
    await storage.write(at("object"), "late", text);
    const patient = open({ requestTimeoutMs: 1_000, retries: 5 });
    faults = [{ kind: "silence" }];
    expect((await patient.read(at("object"), { signal })).bytes).toHaveLength(4);
    patient.close();
    const impatient = open({ requestTimeoutMs: 50, retries: 1 });
    faults = Array.from({ length: 10 }, () => ({ kind: "silence" }));
    await expect(impatient.read(at("object"), { signal })).rejects.toMatchObject({ code: "storage_unavailable" });
    impatient.close();
  });

  it("is a server that isn't there", async () => {
    const lost = open({ endpoint: `http://127.0.0.1:${await freePort()}`, retries: 1 });
    await expect(lost.read(at("object"), { signal })).rejects.toMatchObject({ code: "storage_unavailable" });
    await expect(lost.describe(at("object"), { signal })).rejects.toMatchObject({ code: "storage_unavailable" });
    lost.close();
  });
});

describe("a clock that jumps", () => {
  it.each([-1, 1])("%i day, and back, is nobody's refusal", async (days) => {
    await storage.write(at("object"), "there", text);
    const clock = vi.spyOn(Date, "now");
    const looks = async () => {
      expect(await storage.describe(at("object"), { signal })).toMatchObject({ sizeBytes: 5 });
      expect((await storage.read(at("object"), { signal })).bytes).toHaveLength(5);
      await storage.write(at("object"), "there", text);
    };
    const real = Date.now();
    clock.mockReturnValue(real + days * 86_400_000);
    await looks();
    clock.mockRestore();
    await looks();
  });
});

describe("a refusal", () => {
  it("is named at once", async () => {
    await expect(storage.read(at("denied"), { signal })).rejects.toMatchObject({ code: "storage_forbidden", retryable: false });
    await expect(storage.describe(at("denied"), { signal })).rejects.toMatchObject({ code: "storage_forbidden" });
    await expect(storage.write(at("denied"), "x", text)).rejects.toMatchObject({ code: "storage_forbidden" });
    await expect(storage.remove([at("object"), at("denied")], { signal })).rejects.toMatchObject({ code: "storage_forbidden" });
    faults = [{ kind: "error", code: "AccessDenied" }];
    await expect(storage.read(at("object"), { signal })).rejects.toMatchObject({ code: "storage_forbidden" });
    expect(requests).toEqual(["GET"]);
  });

  it("of another kind is storage_refused", async () => {
    const elsewhere = open({ region: "eu-west-9" });
    await expect(elsewhere.read(at("object"), { signal })).rejects.toMatchObject({ code: "storage_refused", retryable: false });
    elsewhere.close();
  });
});

it("a bucket where nothing may be removed can be written all the same, and keeps one probe", async () => {
  const dropBox = await startTestServer({ faults: ({ method }) => (method === "POST" ? { kind: "error", code: "AccessDenied" } : null) });
  const writer = openStorage({ ...dropBox, pathStyle: true, retries: 0 });
  await writer.ensureBucket("drop-box", { signal });
  for (let time = 0; time < 2; time++) await writer.probeWrite({ bucket: "drop-box", key: "out/" }, { signal });
  const keys: string[] = [];
  for await (const { key } of writer.list({ bucket: "drop-box", key: "" }, { signal })) keys.push(key);
  expect(keys).toEqual(["out/.flamboyance-probe"]);
  writer.close();
  await dropBox.close();
});

describe("a body that breaks", () => {
  beforeEach(async () => {
    await storage.write(at("object"), bytes, text);
    requests = [];
  });

  it("is taken up where it broke", async () => {
    faults = [
      { kind: "cutBody", afterBytes: 1_000_000 },
      { kind: "cutBody", afterBytes: 500_000 },
    ];
    expect((await collect(storage.stream(at("object"), { signal }))).equals(bytes)).toBe(true);
    expect(requests).toHaveLength(3);
    faults = [{ kind: "cutBody", afterBytes: 1_000_000 }];
    expect(bytes.equals((await storage.read(at("object"), { signal })).bytes)).toBe(true);
    faults = [{ kind: "cutBody", afterBytes: 1_000 }];
    const range = await storage.readRange(at("object"), { signal, offsetBytes: 700, lengthBytes: 50_000 });
    expect(bytes.subarray(700, 50_700).equals(range)).toBe(true);
  });

  it("is taken up as often as it gets on", async () => {
    faults = Array.from({ length: 6 }, () => ({ kind: "cutBody", afterBytes: 400_000 }));
    expect((await collect(storage.stream(at("object"), { signal }))).equals(bytes)).toBe(true);
    expect(requests).toHaveLength(7);
  });

  it("is taken up when it falls silent", async () => {
    const patient = open({ requestTimeoutMs: 1_000, retries: 5 });
    faults = [{ kind: "stallBody", afterBytes: 1_000_000 }];
    expect((await collect(patient.stream(at("object"), { signal }))).equals(bytes)).toBe(true);
    patient.close();
  });

  it("never ends as if it were whole", async () => {
    faults = Array.from({ length: 4 }, () => ({ kind: "cutBody", afterBytes: 0 }));
    await expect(collect(storage.stream(at("object"), { signal }))).rejects.toMatchObject({ code: "storage_unavailable" });
  });

  it("isn't mixed with another object's bytes", async () => {
    faults = [{ kind: "cutBody", afterBytes: 1_000_000 }];
    const reading = (async () => {
      const seen: Uint8Array[] = [];
      for await (const piece of storage.stream(at("object"), { signal })) {
        // Another object takes the name while the first is read.
        if (seen.length === 0) await storage.write(at("object"), Buffer.alloc(bytes.length, 7), text);
        seen.push(piece);
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: "storage_changed", retryable: true });
  });
});

describe("a signal", () => {
  const reason = new Error("shutdown");

  it("ends a wait for an answer", async () => {
    const given = new AbortController();
    faults = [{ kind: "silence" }];
    const reading = storage.read(at("object"), { signal: given.signal });
    await expect.poll(() => requests).toHaveLength(1);
    given.abort(reason);
    await expect(reading).rejects.toMatchObject({ code: "aborted", cause: reason });
  });

  it("ends a body", async () => {
    await storage.write(at("object"), bytes, text);
    const given = new AbortController();
    faults = [{ kind: "stallBody", afterBytes: 100_000 }];
    const reading = (async () => {
      for await (const piece of storage.stream(at("object"), { signal: given.signal })) if (piece.length > 0) given.abort(reason);
    })();
    await expect(reading).rejects.toMatchObject({ code: "aborted", cause: reason });
  });

  it("that has fired already sends nothing", async () => {
    const given = AbortSignal.abort(reason);
    await expect(storage.read(at("object"), { signal: given })).rejects.toMatchObject({ code: "aborted" });
    await expect(storage.write(at("object"), "x", { ...text, signal: given })).rejects.toMatchObject({ code: "aborted" });
    await expect(storage.writeStream(at("object"), neverAsked(), { ...text, signal: given })).rejects.toMatchObject({ code: "aborted" });
    expect(requests).toEqual([]);
  });

  async function* neverAsked(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("x");
  }
});

describe("a part that fails", () => {
  async function* parts(onPiece: (index: number) => void): AsyncGenerator<Uint8Array> {
    for (let index = 0; index < 12; index++) {
      onPiece(index);
      yield Buffer.alloc(4 * 1024 * 1024, index);
    }
  }

  it("is sent again", async () => {
    faults = [null, { kind: "reset" }, { kind: "error", code: "SlowDown" }];
    const { sizeBytes } = await storage.writeStream(
      at("object"),
      parts(() => {}),
      text,
    );
    expect((await storage.describe(at("object"), { signal }))?.sizeBytes).toBe(sizeBytes);
  });

  it("isn't a complete whose answer was lost: the object stands, and isn't sent again", async () => {
    const [create, ...sent] = [null, null, null, null, null, null, null];
    faults = [create, ...sent, { kind: "lostAnswer" }];
    const { sizeBytes } = await storage.writeStream(
      at("object"),
      parts(() => {}),
      text,
    );
    expect(requests.filter((method) => method === "PUT")).toHaveLength(sent.length);
    expect(requests.slice(-3)).toEqual(["POST", "POST", "HEAD"]);
    expect((await storage.describe(at("object"), { signal }))?.sizeBytes).toBe(sizeBytes);
  });

  it("ends the writing before the source does, and takes the upload away", async () => {
    let asked = 0;
    faults = [null, { kind: "error", code: "AccessDenied" }];
    const writing = storage.writeStream(
      at("object"),
      parts((index) => (asked = index)),
      text,
    );
    await expect(writing).rejects.toMatchObject({ code: "storage_forbidden" });
    expect(asked).toBeLessThan(11);
    expect(requests).toContain("DELETE");
    expect(await storage.describe(at("object"), { signal })).toBeNull();
  });
});
