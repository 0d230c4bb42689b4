/**
 * `npm run bench:manifest`: reads and freezes a made-up manifest as plan does (rows, checks, duplicates, equal items, the frozen lines, their hash), without S3;
 * prints seconds, lines a second and the most memory. Owns the table. The manifest is a stream that is never whole anywhere; a Parquet file is made before, in memory.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { Readable } from "node:stream";
import { parseArgs } from "node:util";
import { createGzip, createZstdCompress } from "node:zlib";
import type { BatchRequest } from "@flamboyance/contracts";
import { batchKeys, inputForm, type Storage } from "@flamboyance/storage";
import { parquetWriteBuffer } from "hyparquet-writer";
import { freezeItems } from "../freeze-items.ts";
import { KeptBytes } from "../kept-bytes.ts";
import { readManifest } from "../manifest.ts";

const help = `npm run bench:manifest -- [--lines 10000000] [--form jsonl|csv|tsv (each also .gz or .zst)|parquet]`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { lines: { type: "string", default: "10000000" }, form: { type: "string", default: "jsonl" }, help: { type: "boolean" } },
  });
  if (values.help === true) {
    console.log(help);
    return 0;
  }
  const count = Number(values.lines);
  const input = `s3://photos/manifest.${values.form}`;
  const form = inputForm(input);
  if (form.kind === "prefix") {
    console.log(help);
    return 2;
  }
  const source = (): AsyncIterable<Uint8Array> => {
    const plain = Readable.from(pieces(form.rows === "jsonl" ? jsonText : tableText(form.rows === "csv" ? "," : "\t"), count));
    if (form.compression === null) return plain;
    return plain.pipe(form.compression === "gzip" ? createGzip({ level: 1 }) : createZstdCompress());
  };
  const parquet = form.rows === "parquet" ? parquetFile(count) : null;
  const startedMs = performance.now();
  const startedUse = process.cpuUsage();
  const { signal } = new AbortController();
  const storage = storageOf(source, parquet ?? new Uint8Array());
  const entries = readManifest(storage, { ...request, input }, { serviceBucket: "service", signal });
  const keys = batchKeys(request.id).plan("bench");
  const frozen = await freezeItems(storage, "service", entries, {
    request: { ...request, input },
    keys,
    notes: { read: () => null },
    kept: new KeptBytes(request),
    signal,
  });
  if (frozen.kind === "refused") throw new Error(frozen.errors[0]?.message);
  const { items } = frozen.facts;
  if (items !== count) throw new Error(`${items} items of ${count} lines`);
  const seconds = (performance.now() - startedMs) / 1_000;
  const user = process.cpuUsage(startedUse).user / 1e6;
  console.log(`${cpus()[0]?.model.trim() ?? "unknown processor"}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`);
  console.log(`| form | lines | seconds | user seconds | lines per second | items.jsonl | peak of resident memory |`);
  console.log(
    `| ${values.form} | ${items.toLocaleString("en")} | ${seconds.toFixed(1)} | ${user.toFixed(1)} | ${Math.round(items / seconds).toLocaleString("en")} | ${Math.round((storage.writtenBytes.get(keys.items) ?? 0) / 1e6)} MB | ${parquet === null ? `${Math.round(peakMemoryBytes() / 1e6)} MB` : "the file's"} |`,
  );
  return 0;
}

const request: BatchRequest = {
  id: "batch_bench",
  tenant: "bench",
  access: { read: ["photos"], write: ["photos"], credentials: [] },
  created_at: 0,
  expires_at: 1,
  idempotency_key: null,
  model: { name: "none", key: "none" },
  task: "vqa",
  input: "",
  output: null,
  examples: [],
  question: "What is it?",
  pixels: "exact",
  weight: 1,
  priority: 0,
  generation: { max_new_tokens: 5, min_new_tokens: 0, num_beams: 3 },
  on_invalid: "fail",
  completion_window: "24h",
  metadata: null,
};

/** Storage of which nothing is but this stream, and this file in ranges; what is written is hashed, as S3's client does, counted and forgotten. */
function storageOf(stream: Storage["stream"], file: Uint8Array): Storage & { readonly writtenBytes: ReadonlyMap<string, number> } {
  const refuse = (): never => {
    throw new Error("a plan needs no more");
  };
  const writtenBytes = new Map<string, number>();
  return {
    writtenBytes,
    stream,
    writeStream: async ({ key }, written) => {
      const hash = createHash("sha256");
      let sizeBytes = 0;
      for await (const piece of written) {
        hash.update(piece);
        sizeBytes += piece.length;
      }
      writtenBytes.set(key, sizeBytes);
      return { sizeBytes, sha256: hash.digest("hex") };
    },
    read: refuse,
    readRange: (_location, { offsetBytes, lengthBytes }) => Promise.resolve(file.subarray(offsetBytes, offsetBytes + lengthBytes)),
    describe: () => Promise.resolve({ sizeBytes: file.length, etag: "", contentType: "", lastModified: new Date(0) }),
    write: refuse,
    list: refuse,
    folders: refuse,
    remove: refuse,
    probeWrite: refuse,
    ensureBucket: refuse,
    close: refuse,
  };
}

interface Texts {
  readonly head: string;
  readonly line: (index: number) => string;
}

const imageOf = (index: number): string => `s3://photos/2024/${index % 1_000}/${(index * 2_654_435_761) % 4_294_967_296}.jpg`;
const jsonText: Texts = {
  head: "",
  line: (index) => `{"custom_id":"photo-${index}","image":"${imageOf(index)}","question":"What is number ${index}?"}\n`,
};
const tableText = (delimiter: string): Texts => ({
  head: `${["custom_id", "image", "question"].join(delimiter)}\n`,
  line: (index) => `${["photo-" + index, imageOf(index), `"What is number ${index}?"`].join(delimiter)}\n`,
});

function parquetFile(count: number): Uint8Array {
  const column = (name: string, value: (index: number) => string) =>
    ({ name, data: Array.from({ length: count }, (_, index) => value(index)), type: "STRING" }) as const;
  const columnData = [
    column("custom_id", (index) => `photo-${index}`),
    column("image", imageOf),
    column("question", (index) => `What is number ${index}?`),
  ];
  return new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 100_000 }));
}

/** About 64 KB each, as S3 gives them. */
function* pieces({ head, line }: Texts, count: number): Generator<Buffer> {
  let text = head;
  for (let index = 0; index < count; index++) {
    text += line(index);
    if (text.length < 65_536) continue;
    yield Buffer.from(text);
    text = "";
  }
  yield Buffer.from(text);
}

/** As the system counted it from the program's start; where it doesn't, as the process did. */
function peakMemoryBytes(): number {
  const kibibytes = process.platform === "linux" ? /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] : undefined;
  return 1024 * (kibibytes === undefined ? process.resourceUsage().maxRSS : Number(kibibytes));
}

process.exitCode = await main();
