/**
 * `npm run bench:cancel`: how soon workers stop after a cancel was answered. One api, two workers, Redis and the development S3 server on this machine; the engine is the benchmark itself, which
 * answers each row after a fixed time and so sees when a worker starts one. Each round submits a batch, cancels it at a random moment of its run, and waits for its end.
 * That no chunk is claimed once the cancel was answered is not measured but held: the claim's script refuses (packages/queue/src/law.itest.ts). Exits non-zero where counts and lines don't agree.
 */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createClient } from "@flamboyance/client";
import { noOpModelName, publishNoOpModel } from "@flamboyance/dev/no-op-model";
import { plainImage } from "@flamboyance/dev/plain-image";
import { serviceBucket, startSystem } from "@flamboyance/dev/system";
import { jsonLine, openStorage } from "@flamboyance/storage";

const bucket = "bench";
const items = 2_000;

/** Answers each row after so long, and remembers when each batch's last one began. */
async function startEngine(rowMs: number) {
  const started = new Map<string, { first: number; last: number }>();
  const server = createServer((request, response) => {
    const row = new URL(request.url ?? "/", "http://engine").searchParams.get("row") ?? "";
    const batch = row.replace(/-\d+$/, "");
    const atMs = performance.now();
    started.set(batch, { first: started.get(batch)?.first ?? atMs, last: atMs });
    setTimeout(() => response.end(), rowMs);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a server on TCP has a port");
  return {
    url: `http://127.0.0.1:${address.port}/`,
    rowsOf: (batch: string) => started.get(batch),
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function bench(rounds: number, rowMs: number): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-bench-"));
  const signal = AbortSignal.timeout(30 * 60_000);
  const engine = await startEngine(rowMs);
  const environment = { FLAMBOYANCE_ENGINE: "none", FLAMBOYANCE_ENGINE_GATE: engine.url, FLAMBOYANCE_LOG_LEVEL: "warn" };
  const system = await startSystem({ folder, workers: 2, environment }, async (s3) => {
    const storage = openStorage({ ...s3, pathStyle: true });
    for (const name of [serviceBucket, bucket]) await storage.ensureBucket(name, { signal });
    await publishNoOpModel(storage, serviceBucket, signal);
    await storage.write({ bucket, key: "image.png" }, plainImage(1), { contentType: "image/png", signal });
    const lines = Array.from({ length: items }, (_, item) => jsonLine({ custom_id: `item-${item}`, image: `s3://${bucket}/image.png` }));
    await storage.write({ bucket, key: "manifest.jsonl" }, lines.join(""), { contentType: "application/jsonl", signal });
    storage.close();
  });
  try {
    const client = createClient({ baseUrl: system.apiUrl, apiKey: system.apiKey });
    const lastRowMs: number[] = [];
    const endedMs: number[] = [];
    let right = true;
    for (let round = 0; round < rounds; round++) {
      const { id } = await client.batches.create(
        { model: noOpModelName, task: "caption", input: `s3://${bucket}/manifest.jsonl` },
        { signal },
      );
      while (engine.rowsOf(id) === undefined) await sleep(5, undefined, { signal });
      await sleep(Math.random() * 1_000, undefined, { signal });
      await client.batches.cancel(id, { signal });
      const answeredMs = performance.now();
      const batch = await client.batches.wait(id, { signal, intervalMs: 20 });
      endedMs.push(performance.now() - answeredMs);
      lastRowMs.push(Math.max(0, (engine.rowsOf(id)?.last ?? answeredMs) - answeredMs));
      const { total, completed, failed } = batch.request_counts;
      const whole = total === items && completed + failed === items && batch.never_ran === failed;
      if (batch.status !== "cancelled" || !whole) {
        right = false;
        process.stderr.write(
          `WRONG: ${JSON.stringify({ id, status: batch.status, total, completed, failed, never_ran: batch.never_ran })}\n`,
        );
      }
    }
    const report = [
      `${rounds} cancels, batches of ${items} items, a row takes ${rowMs} ms, two workers of two chunks each, FLAMBOYANCE_STOP_SECONDS 1`,
      `${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`,
      "",
      "| from the cancel's answer to | p50 | p99 | most |",
      "|---|---:|---:|---:|",
      `| the last row that a worker started | ${figures(lastRowMs)} |`,
      `| the batch's end, its results whole | ${figures(endedMs)} |`,
      "",
      `counts and lines: ${right ? "right" : "WRONG"}`,
    ];
    process.stdout.write(`${report.join("\n")}\n`);
    return right;
  } finally {
    await system.close();
    await engine.close();
    await rm(folder, { recursive: true, force: true });
  }
}

function figures(ms: readonly number[]): string {
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (share: number) => ((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN) / 1_000).toFixed(2);
  return [0.5, 0.99, 1].map((share) => `${at(share)} s`).join(" | ");
}

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "200" },
    "row-ms": { type: "string", default: "100" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) process.stdout.write("npm run bench:cancel [-- --rounds 200 --row-ms 100]\n");
else process.exitCode = (await bench(Number(values.rounds), Number(values["row-ms"]))) ? 0 : 1;
