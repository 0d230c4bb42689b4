/**
 * `npm run demo`: a whole Flamboyance on this machine turns pictures in S3 into captions and answers, and shows how many are right.
 * Owns the order of the show. Leaves no process and no port behind, also on Ctrl-C; the results stay in `.flamboyance/demo/` until the next demo, those of a second one beside it don't.
 */
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { createClient, type Client } from "@flamboyance/client";
import { isCoded, isEnded, lineSucceeded, type Batch, type CreateDatasetBatchInput, type ResultLine } from "@flamboyance/contracts";
import { openStorage } from "@flamboyance/storage";
import { DEMO_MODEL_NAME } from "@flamboyance/model/demo";
import { customerBucket, importDemoModel, publishModel, uploadImages, type DemoData } from "./demo-data.ts";
import { takeHome, type DemoHome } from "./demo-home.ts";
import { openScreen, type Bar } from "./demo-screen.ts";
import { serviceBucket, startSystem, type S3Address, type System } from "./system.ts";

const help = `npm run demo [-- options]

Starts Redis, an S3 server, the api and a worker on this machine, uploads pictures of coloured shapes, and has the demo model caption them and answer
a question about each. Ends everything again; the results stay in .flamboyance/demo/ until the next demo (not those of a second demo beside one that
is up: they go with its end).

  --images <n>   how many pictures (200)
  --keep         leave the system up until Ctrl-C, to submit batches of your own
  --help         this text`;

const folder = resolve(import.meta.dirname, "../../../.flamboyance");
const wantedPorts = { api: 8080, s3: 9000, redis: 6390 };
const shownRows = 8;
const stopped = "stopped; nothing is left running\n";

async function demo(count: number, keep: boolean, signal: AbortSignal): Promise<boolean> {
  const screen = openScreen(process.stdout);
  screen.step("1/5  Importing the demo model (once)");
  const modelFolder = await importDemoModel(folder, signal);

  screen.step("2/5  Starting Redis, S3, a worker and the api");
  await using place = await takeHome(folder);
  const { home } = place;
  await using system = await startDemoSystem(home, modelFolder, signal);
  signal.throwIfAborted();

  screen.step(`3/5  Drawing and uploading ${count} pictures`);
  const storage = openStorage({ ...system.s3, pathStyle: true });
  const data = await screen
    .withBars([{ name: "pictures", total: count }], ([bar]) => {
      let uploaded = 0;
      return uploadImages(storage, count, () => bar?.update((uploaded += 1)), signal);
    })
    .finally(() => storage.close());

  screen.step("4/5  Two batches: a caption for every picture, an answer about every picture");
  const client = createClient({ baseUrl: system.apiUrl, apiKey: system.apiKey });
  const requests = batchRequests(data);
  const batches = [await client.batches.create(requests.captions, { signal }), await client.batches.create(requests.answers, { signal })];
  const bars = ["captions", "answers"].map((name) => ({ name, total: count }));
  const [captions, answers] = await screen.withBars(bars, (shown) =>
    Promise.all(batches.map((batch, index) => follow(client, batch, shown[index], signal))),
  );
  if (captions === undefined || answers === undefined) throw new Error("two batches were followed");

  screen.step("5/5  Results");
  const captioned = await judge(client, captions, (id) => data.truths.get(id)?.caption, signal);
  const answered = await judge(client, answers, (id) => data.truths.get(id)?.answer, signal);
  await writeFile(join(home, "captions.jsonl"), captioned.lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  await writeFile(join(home, "answers.jsonl"), answered.lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  screen.table(["picture", "caption", "truth", ""], captioned.rows.slice(0, shownRows));
  screen.step("");
  const questionOf = (id: string | undefined) => data.truths.get(id ?? "")?.question ?? "";
  const asked = answered.rows.slice(0, shownRows).map(([id, ...rest]) => [id ?? "", questionOf(id), ...rest]);
  screen.table(["picture", "question", "answer", "truth", ""], asked);
  screen.step("");
  sayWhere((text) => screen.step(text), place, keep, [captions, answers]);
  if (!keep) screen.step("To look around:          npm run demo -- --keep");
  screen.step("");
  screen.step(`captions right: ${captioned.right}/${count}`);
  screen.step(`answers right: ${answered.right}/${count}`);
  if (keep) await stayUp((text) => screen.step(text), system, captions, signal);
  return captions.status === "completed" && answers.status === "completed";
}

async function startDemoSystem(home: string, modelFolder: string, signal: AbortSignal): Promise<System & AsyncDisposable> {
  const prepare = async (s3: S3Address) => {
    const storage = openStorage({ ...s3, pathStyle: true });
    for (const bucket of [serviceBucket, customerBucket]) await storage.ensureBucket(bucket, { signal });
    await publishModel(storage, modelFolder, signal);
    storage.close();
  };
  const system = await startSystem({ folder: home, ports: wantedPorts }, prepare);
  return { ...system, [Symbol.asyncDispose]: () => system.close() };
}

function batchRequests(data: DemoData): { captions: CreateDatasetBatchInput; answers: CreateDatasetBatchInput } {
  // Greedy, as the model card's figures are: a third of the rows that the default's three beams would be.
  const generation = { num_beams: 1 };
  const output = (name: string) => `s3://${customerBucket}/results/${name}/`;
  return {
    captions: {
      model: DEMO_MODEL_NAME,
      task: "caption",
      input: data.captionInput,
      output: output("captions"),
      examples: [...data.captionExamples],
      generation,
    },
    answers: {
      model: DEMO_MODEL_NAME,
      task: "vqa",
      input: data.questionInput,
      output: output("answers"),
      examples: [...data.questionExamples],
      generation,
    },
  };
}

async function follow(client: Client, batch: Batch, bar: Bar | undefined, signal: AbortSignal): Promise<Batch> {
  const onProgress = (now: Batch) => bar?.update(now.request_counts.completed + now.request_counts.failed);
  const ended = await client.batches.wait(batch.id, { signal, onProgress });
  if (!isEnded(ended.status)) throw new Error(`${batch.id} was given up as ${ended.status}`);
  return ended;
}

interface Judged {
  readonly lines: readonly ResultLine[];
  /** Picture, what the model said, the truth, a mark. */
  readonly rows: readonly (readonly string[])[];
  readonly right: number;
}

async function judge(
  client: Client,
  batch: Batch,
  truthOf: (customId: string) => string | undefined,
  signal: AbortSignal,
): Promise<Judged> {
  const lines: ResultLine[] = [];
  for await (const line of client.batches.results(batch.id, { signal })) lines.push(line);
  const rows = lines.map((line) => {
    const id = line.custom_id ?? "";
    const truth = truthOf(id) ?? "";
    const body = line.response?.body;
    const said =
      body !== undefined && "choices" in body
        ? (body.choices[0]?.message.content ?? "").trim()
        : (body?.error.message ?? line.error?.message ?? "");
    return [id, said, truth, lineSucceeded(line) && said === truth ? "✓" : "✗"] as const;
  });
  return { lines, rows, right: rows.filter(([, , , mark]) => mark === "✓").length };
}

function sayWhere(say: (text: string) => void, { home, stays }: DemoHome, keep: boolean, batches: readonly Batch[]): void {
  if (!stays) say("Another demo is up, so all this goes with the end of this one.");
  if (!stays && !keep) return;
  const here = relative(process.cwd(), home) || ".";
  say(`The lines as they came:  ${here}/captions.jsonl, ${here}/answers.jsonl`);
  for (const batch of batches) say(`The customer's copy:     ${batch.output ?? ""} (on disk below ${here}/s3/)`);
  say(`Logs:                    ${here}/logs/`);
}

async function stayUp(say: (text: string) => void, system: System, batch: Batch, signal: AbortSignal): Promise<void> {
  say("");
  say("Everything stays up until Ctrl-C. In another terminal, in this folder:");
  say(`  export FLAMBOYANCE_URL=${system.apiUrl} FLAMBOYANCE_API_KEY=${system.apiKey}`);
  say("  npx flamboyance list");
  say(`  npx flamboyance results ${batch.id}`);
  say("For tenants, keys and quotas there is a key of its own:");
  say(`  FLAMBOYANCE_API_KEY=${system.adminKey} npx flamboyance tenant list`);
  const { endpoint, region, accessKeyId, secretAccessKey } = system.s3;
  say(`Pictures and manifests of your own go into s3://${customerBucket}/ with any S3 client, for instance:`);
  say(
    `  export AWS_ENDPOINT_URL=${endpoint} AWS_REGION=${region} AWS_ACCESS_KEY_ID=${accessKeyId} AWS_SECRET_ACCESS_KEY=${secretAccessKey}`,
  );
  say(`  aws s3 cp --recursive pictures/ s3://${customerBucket}/pictures/`);
  if (!signal.aborted) await once(signal, "abort");
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      images: { type: "string", default: "200" },
      keep: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${help}\n`);
    return 0;
  }
  const count = Number(values.images);
  if (!Number.isInteger(count) || count < 1 || count > 100_000) {
    process.stderr.write("--images must be a number from 1 to 100000\n");
    return 2;
  }
  const stop = new AbortController();
  // The listener stays after the first signal: without one, the children's own would end them and us at once, before anything is put in order.
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => (stop.signal.aborted ? process.exit(130) : stopInOrder(stop)));
  try {
    const allCompleted = await demo(count, values.keep, stop.signal);
    if (stop.signal.aborted) process.stderr.write(stopped);
    return allCompleted ? 0 : 1;
  } catch (error) {
    if (stop.signal.aborted) process.stderr.write(stopped);
    else process.stderr.write(`${isCoded(error) ? `${error.code}: ` : ""}${error instanceof Error ? error.message : String(error)}\n`);
    return stop.signal.aborted ? 130 : 1;
  }
}

function stopInOrder(stop: AbortController): void {
  process.stderr.write("\nstopping ...\n");
  stop.abort();
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${help}\n`);
  return 2;
});
