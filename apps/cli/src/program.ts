/** Every command with its flags, help and examples. Owns the grammar only: what a command does lies in the file of its name. */
import type { Client } from "@flamboyance/client";
import { pixelMode, task, type Batch, type Control, type NewApiKey, type Scope } from "@flamboyance/contracts";
import type { DeviceChoice, Precision } from "@flamboyance/model";
import { Command, CommanderError, Option } from "commander";
import { formatBatch, formatBatches, formatErrors } from "./batches.ts";
import { connect, defaultCacheFolder, defaultHubEndpoint, defaultUrl } from "./config.ts";
import { describeFailure, exitCodes, type ExitCode } from "./failure.ts";
import { atLeastOne, decimal, integer, numberOrShare, wholeNumber } from "./flag-number.ts";
import { importModelFolder, listPresets, type ImportFlags } from "./model-import.ts";
import { showDryRun } from "./report.ts";
import { showResults, type ResultsFlags } from "./results.ts";
import { collectPairs, readSubmission, type SubmitFlags } from "./submission.ts";
import { formatTable, formatTime } from "./table.ts";
import {
  bootstrapKey,
  formatKeys,
  formatNewKey,
  formatTenant,
  formatTenants,
  readTenant,
  readDuration,
  scopeNames,
  type BootstrapFlags,
  type TenantFlags,
} from "./tenants.ts";
import { print, type Terminal } from "./terminal.ts";
import { watchBatch } from "./watch.ts";

/** Runs one command line (without node and script); answers the exit code, having written what there was to say. */
export async function runProgram(commandLine: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.done;
  const program = createProgram(terminal, (code) => (exitCode = code));
  try {
    await program.parseAsync([...commandLine], { from: "user" });
    return exitCode;
  } catch (error) {
    // Commander has said it already: help, version, or what is wrong with a flag.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    const { line, exitCode: failed } = describeFailure(error);
    await print(terminal.err, `flamboyance: ${line}\n`);
    return failed;
  }
}

const precisions: readonly Precision[] = ["fp32", "int8", "int4"];
const devices: readonly DeviceChoice[] = ["cpu", "webgpu", "auto"];

interface CommonFlags {
  readonly url?: string;
  readonly json?: boolean;
}

function createProgram(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const { out, err, environment, signal } = terminal;
  const program = new Command("flamboyance")
    .description("Captions and answers for images in S3, by the million.")
    .exitOverride()
    .configureOutput({ writeOut: (text) => void out.write(text), writeErr: (text) => void err.write(text) })
    .configureHelp({ helpWidth: 120 })
    .showHelpAfterError("(--help shows what there is)")
    .addHelpText(
      "after",
      `
Environment:
  FLAMBOYANCE_API_KEY   the key to call with (needed)
  FLAMBOYANCE_URL       where the service is (${defaultUrl})

Exit codes:
  0 done   1 the service refused or failed   2 a flag, file or variable is wrong
  3 the batch ended, but not as completed   4 nobody answers   5 the batch completed, but some items failed   130 Ctrl-C

Examples:
  flamboyance submit --model demo --task caption --input 's3://photos/2024/**/*.jpg' --watch
  flamboyance watch batch_01k…
  flamboyance results batch_01k… --table`,
    );
  const clientOf = (flags: CommonFlags): Client => connect(environment, flags.url);
  const columns = () => (out.isTTY === true ? out.columns : undefined);
  const say = (text: string) => print(out, text);
  const line = (value: unknown) => say(`${JSON.stringify(value)}\n`);
  const command = (parent: Command, name: string, description: string, examples: string) =>
    parent
      .command(name)
      .description(description)
      .option("--json", "machine-readable: one JSON value per line")
      .addHelpText("after", `\nExamples:\n${examples.replaceAll(/^/gm, "  ")}`);
  const remote = (name: string, description: string, examples: string) =>
    command(program, name, description, examples).option("--url <url>", `where the service is (FLAMBOYANCE_URL, ${defaultUrl})`);

  const submitted = async (client: Client, batch: Batch, flags: CommonFlags & { readonly watch?: boolean }) => {
    if (flags.watch === true) {
      await print(err, `${batch.id} submitted\n`);
      finish(await watchBatch(client, terminal, batch.id, { json: flags.json === true }));
    } else if (flags.json === true) await line(batch);
    else await say(`${batch.id}\n`);
  };

  remote(
    "submit",
    "Submit a batch over a dataset of images in S3.",
    `flamboyance submit --model demo --task caption --input s3://photos/manifest.jsonl --output s3://results/2024/
flamboyance submit --model demo --task vqa --input s3://photos/ --question 'How many birds are there?' --examples examples.jsonl --watch
flamboyance submit --model demo --task classify --input s3://photos/ --labels 'a bird' 'a cat' 'neither'
flamboyance submit --model demo --task caption --input s3://photos/ --temperature 0.8 --top-p 0.9 --seed 7 --n 3
flamboyance submit --file request.json --dry-run
flamboyance submit --file request.json --max-new-tokens 30`,
  )
    .option("--file <path>", "the request as a JSON object (- reads standard input); flags go over its fields")
    .option("--model <name>", "a model of `flamboyance models`")
    .addOption(new Option("--task <task>", "what to do with each image").choices(task.options))
    .option(
      "--input <location>",
      "a manifest s3://bucket/name.jsonl (.csv, .tsv; also .gz, .zst; .parquet), or a prefix or pattern s3://bucket/a/**/*.jpg",
    )
    .option(
      "--column <field=name>",
      "the manifest's column for a field, image=url; may be repeated",
      collectPairs("--column", "field=name"),
    )
    .option("--include <pattern...>", "prefix: only objects that match one of these, below its folder")
    .option("--exclude <pattern...>", "prefix: no object that matches one of these, below its folder")
    .option("--output <folder>", "where the results are copied after the end, as s3://bucket/folder/")
    .option(
      "--examples <path>",
      "solved examples: a JSON list or JSON lines of {image or images, text} (classify: its label) or {image, question, answer}",
    )
    .option("--question <text>", "vqa: asked of every item without a question of its own")
    .option("--prompt <text>", "prompt: the text behind each image that brings none of its own")
    .option("--labels <label...>", "classify: what an image may be called")
    .addOption(
      new Option("--rank-by <how>", "classify: by the labels' mean (default) or sum of log-probabilities").choices(["mean", "sum"]),
    )
    .option("--frames <number>", "frames taken, evenly spaced, of each animation or list of images (the first; of a list all)", wholeNumber)
    .addOption(
      new Option("--pixels <how>", "exact (default), or fast: large JPEG and WebP images are decoded smaller").choices(pixelMode.options),
    )
    .option("--max-new-tokens <number>", "longest answer (20, for vqa 5)", wholeNumber)
    .option("--min-new-tokens <number>", "shortest answer (0)", wholeNumber)
    .option("--num-beams <number>", "beams (3; 1 with --stop and anything of sampling)", wholeNumber)
    .option("--length-penalty <number>", "beams: a score divides by length to this power (0)", decimal)
    .addOption(new Option("--early-stopping <when>", "beams: as Hugging Face's (false)").choices(["true", "false", "never"]))
    .option("--temperature <number>", "samples: flattens above 1, sharpens below", decimal)
    .option("--top-k <number>", "samples from so many of the likeliest tokens", wholeNumber)
    .option("--top-p <number>", "samples from the likeliest tokens that make up this much", decimal)
    .option("--seed <number>", "samples: the same seed, the same texts", integer)
    .option("--n <number>", "texts per image: drawn apart, or the best beams (1)", wholeNumber)
    .option("--stop <text...>", "ends a text before any of these; with one beam")
    .option("--logprobs", "with each token's log-probability")
    .addOption(new Option("--on-invalid <what>", "what a bad line of the manifest does").choices(["fail", "skip"]))
    .option("--completion-window <time>", "until when it must be done, as 90m, 24h (default), 7d")
    .option("--priority <number>", "which of your batches goes first: the highest, -10 to 10 (0)", integer)
    .option("--max-failed <number>", "pause it once more items failed than this, or than this share, as 5%", numberOrShare)
    .option("--metadata <key=value>", "your own words on the batch; may be repeated", collectPairs("--metadata", "key=value"))
    .option("--idempotency-key <key>", "the same key with the same request answers the same batch, for a day")
    .option("--result-formats <format...>", "tables of all lines beside the JSON lines: csv, parquet")
    .option("--no-deduplicate", "run items that show and ask the same each by itself")
    .option("--dry-run", "run nothing: check the manifest, look at some images, estimate the time")
    .option("--watch", "watch it to its end")
    .action(async (flags: SubmitFlags & CommonFlags & { readonly idempotencyKey?: string; readonly watch?: boolean }) => {
      const body = await readSubmission(flags);
      const client = clientOf(flags);
      const batch = await client.batches.create(body, {
        signal,
        ...(flags.idempotencyKey === undefined ? {} : { idempotencyKey: flags.idempotencyKey }),
      });
      if (body.dry_run === true) finish(await showDryRun(client, terminal, batch, { json: flags.json === true }));
      else await submitted(client, batch, flags);
    });

  remote("watch", "Watch a batch to its end. Ctrl-C leaves it running.", "flamboyance watch batch_01k…")
    .argument("<id>", "the batch")
    .action(async (id: string, flags: CommonFlags) =>
      finish(await watchBatch(clientOf(flags), terminal, id, { json: flags.json === true })),
    );

  remote("show", "Show one batch.", "flamboyance show batch_01k…\nflamboyance show batch_01k… --json | jq .request_counts")
    .argument("<id>", "the batch")
    .action(async (id: string, flags: CommonFlags) => {
      const batch = await clientOf(flags).batches.get(id, { signal });
      await (flags.json === true ? line(batch) : say(formatBatch(batch)));
    });

  remote(
    "results",
    "Read a batch's results in the manifest's order, also while it runs: JSON lines, as in output.jsonl.",
    `flamboyance results batch_01k… > lines.jsonl
flamboyance results batch_01k… --follow --table
flamboyance results batch_01k… --status failed --output failed.jsonl
flamboyance results batch_01k… --lineage > all.jsonl`,
  )
    .argument("<id>", "the batch")
    .addOption(new Option("--status <status>", "only these lines").choices(["completed", "failed"]))
    .option("--follow", "wait for further lines until the batch has ended", false)
    .option("--lineage", "with its retries that have ended: the newest line of each item", false)
    .option("--table", "a table of items and answers for the screen", false)
    .option("--output <path>", "a file, written whole or not at all")
    .action(async (id: string, flags: CommonFlags & ResultsFlags) => showResults(clientOf(flags), terminal, id, flags));
  remote(
    "errors",
    "Show why items of an ended batch failed: each cause and how often.",
    "flamboyance errors batch_01k…\nflamboyance errors batch_01k… --lineage --json",
  )
    .argument("<id>", "the batch")
    .option("--lineage", "with its retries that have ended: the newest line of each item", false)
    .action(async (id: string, flags: CommonFlags & { lineage: boolean }) => {
      const errors = await clientOf(flags).batches.errors(id, { lineage: flags.lineage, signal });
      if (flags.json === true) for (const error of errors) await line(error);
      else await say(formatErrors(errors, columns()));
    });
  remote(
    "retry",
    "Run the failed items of an ended batch again, as a new batch. Its results and the batch's are read as one with `results --lineage`.",
    "flamboyance retry batch_01k…\nflamboyance retry batch_01k… --code image_not_found --code item_failed --watch",
  )
    .argument("<id>", "the batch, or a retry of it")
    .option("--code <code...>", "only items that failed with these codes (`flamboyance errors` shows them)")
    .option("--idempotency-key <key>", "the same key answers the same retry")
    .option("--watch", "watch it to its end")
    .action(
      async (id: string, flags: CommonFlags & { readonly code?: string[]; readonly idempotencyKey?: string; readonly watch?: boolean }) => {
        const client = clientOf(flags);
        const batch = await client.batches.retry(id, {
          signal,
          ...(flags.code === undefined ? {} : { errorCodes: flags.code }),
          ...(flags.idempotencyKey === undefined ? {} : { idempotencyKey: flags.idempotencyKey }),
        });
        await submitted(client, batch, flags);
      },
    );

  const control = (kind: Exclude<Control["kind"], "priority" | "deadline">, description: string) =>
    remote(kind, description, `flamboyance ${kind} batch_01k…`)
      .argument("<id>", "the batch")
      .action(async (id: string, flags: CommonFlags) => {
        const batch = await clientOf(flags).batches[kind](id, { signal });
        await (flags.json === true ? line(batch) : say(`${batch.id} ${batch.status}\n`));
      });
  control("cancel", "Stop a batch. What is done stays and can be read.");
  control("pause", "Pause a batch. What runs is finished, nothing further starts, and the deadline stays.");
  control("resume", "Let a paused batch go on; one that its max_failed paused goes on without it.");
  remote(
    "priority",
    "Change which of your batches goes first: the highest, from -10 to 10.",
    "flamboyance priority batch_01k… 5\nflamboyance priority batch_01k… -5",
  )
    .argument("<id>", "the batch")
    .argument("<priority>", "its new priority", integer)
    .action(async (id: string, priority: number, flags: CommonFlags) => {
      const batch = await clientOf(flags).batches.setPriority(id, priority, { signal });
      await (flags.json === true ? line(batch) : say(`${batch.id} ${batch.status}, priority ${batch.priority}\n`));
    });

  remote(
    "deadline",
    "Change until when a batch must be done, counted from its submit; what isn't done then has expired.",
    "flamboyance deadline batch_01k… 48h",
  )
    .argument("<id>", "the batch")
    .argument("<time>", "from the submit on, as 90m, 48h, 7d")
    .action(async (id: string, time: string, flags: CommonFlags) => {
      const batch = await clientOf(flags).batches.setDeadline(id, time, { signal });
      await (flags.json === true ? line(batch) : say(`${batch.id} ${batch.status}, until ${formatTime(batch.expires_at)}\n`));
    });

  remote("delete", "Delete an ended batch and its results for good. What was copied to its output stays.", "flamboyance delete batch_01k…")
    .argument("<id>", "the batch")
    .action(async (id: string, flags: CommonFlags) => {
      const deleted = await clientOf(flags).batches.delete(id, { signal });
      await (flags.json === true ? line(deleted) : say(`${deleted.id} deleted\n`));
    });

  remote("list", "List your batches, the newest first.", "flamboyance list\nflamboyance list --limit 5 --json")
    .option("--limit <number>", "how many", atLeastOne, 20)
    .action(async (flags: CommonFlags & { limit: number }) => {
      const batches = [];
      for await (const batch of clientOf(flags).batches.all({ signal })) {
        if (batches.length === flags.limit) break;
        batches.push(batch);
      }
      if (flags.json === true) for (const batch of batches) await line(batch);
      else await say(formatBatches(batches, columns()));
    });

  remote("models", "List the models that the service knows.", "flamboyance models").action(async (flags: CommonFlags) => {
    const models = await clientOf(flags).models.list({ signal });
    if (flags.json === true) for (const model of models) await line(model);
    else if (models.length === 0) await say("no models yet\n");
    else
      await say(
        formatTable(
          ["model", "added"],
          models.map((model) => [model.id, formatTime(model.created)]),
        ),
      );
  });

  const model = program.command("model").description("Make model folders, on this machine.");
  command(
    model,
    "import",
    "Import an OpenFlamingo model from its pieces into a model folder.",
    `flamboyance model import models/flamingo-3b --preset openflamingo-3b-vitl-mpt1b
flamboyance model import models/flamingo-3b --preset openflamingo-3b-vitl-mpt1b --vision ViT-L-14.pt --lm mpt-1b-redpajama-200b --checkpoint checkpoint.pt
flamboyance model import models/mine --vision ViT-L-14.pt --lm mpt-1b-redpajama-200b --checkpoint checkpoint.pt`,
  )
    .argument("<folder>", "the model folder to write; one that stands there is replaced")
    .option("--preset <name>", "a released model of `flamboyance model presets`: pieces without a path are downloaded, all are checked")
    .option("--vision <file>", "CLIP's weights: .safetensors, .bin, or OpenAI's .pt archive")
    .option("--vision-config <file>", "open_clip_config.json or config.json, where none lies beside the weights")
    .option("--lm, --language-model <folder>", "a Hugging Face folder: config.json, tokenizer.json, weights")
    .option("--checkpoint <file>", "OpenFlamingo's checkpoint.pt")
    .option("--name <name>", "the model's name (default: the folder's)")
    .addOption(
      new Option("--precision <precision>", "fp32 is the reference; int8 is fastest for many rows, int4 smallest")
        .choices(precisions)
        .default("fp32"),
    )
    .option("--cache <folder>", `where downloads are kept (default: ~/${defaultCacheFolder})`)
    .option("--no-verify", "don't run the model once at the end")
    .addOption(
      new Option("--device <device>", "where that run computes; auto: the GPU where it is faster and runs the model")
        .choices(devices)
        .default("cpu"),
    )
    .addHelpText(
      "after",
      `
Environment:
  HF_ENDPOINT   where pieces are downloaded from (${defaultHubEndpoint})
  HF_TOKEN      a token of the Hub, for repositories that want one`,
    )
    .action(async (folder: string, flags: Omit<ImportFlags, "json"> & { json?: boolean }) =>
      importModelFolder(terminal, folder, { ...flags, json: flags.json === true }),
    );
  command(
    model,
    "presets",
    "List the released models that `model import --preset` knows.",
    "flamboyance model presets\nflamboyance model presets --json | jq .pieces",
  ).action(async (flags: CommonFlags) => listPresets(terminal, { json: flags.json === true }));

  const remoteOf = (parent: Command, name: string, description: string, examples: string) =>
    command(parent, name, description, examples).option("--url <url>", `where the service is (FLAMBOYANCE_URL, ${defaultUrl})`);

  const tenant = program.command("tenant").description("Whose batches may be run, and what they may touch: with a key of the scope admin.");
  remoteOf(
    tenant,
    "set",
    "Say what a tenant may read and write, its share of the workers and its quotas; what was said before is replaced.",
    "flamboyance tenant set birds --read 'birds-*' 'photos/2024/' 'https://images.example.com' --write birds-results\nflamboyance tenant set birds --read 'birds-*' --credentials birds.json --weight 3 --running-batches 20 --items-queued 1000000",
  )
    .argument("<name>", "the tenant")
    .option("--read <pattern...>", "what may be read: a bucket, bucket/folder/, https://host; * stands for any characters of a name")
    .option("--write <pattern...>", "where results may be copied: a bucket, bucket/folder/")
    .option("--credentials <path>", "whose keys open which buckets: a JSON list of {buckets, secret, endpoint, region, path_style}")
    .option("--weight <number>", "its share of the workers, 1 to 100 (1)", wholeNumber)
    .option("--running-batches <number>", "quota: batches that haven't ended, at once", atLeastOne)
    .option("--items-queued <number>", "quota: items of these that have no line yet", atLeastOne)
    .action(async (name: string, flags: CommonFlags & TenantFlags) => {
      const put = await clientOf(flags).tenants.put(name, await readTenant(flags), { signal });
      await (flags.json === true ? line(put) : say(formatTenant(put)));
    });
  remoteOf(tenant, "show", "Show one tenant.", "flamboyance tenant show birds")
    .argument("<name>", "the tenant")
    .action(async (name: string, flags: CommonFlags) => {
      const found = await clientOf(flags).tenants.get(name, { signal });
      await (flags.json === true ? line(found) : say(formatTenant(found)));
    });
  remoteOf(tenant, "list", "List the tenants.", "flamboyance tenant list --json").action(async (flags: CommonFlags) => {
    const tenants = await Array.fromAsync(clientOf(flags).tenants.all({ signal }));
    if (flags.json === true) for (const each of tenants) await line(each);
    else await say(formatTenants(tenants, columns()));
  });

  const key = program.command("key").description("Keys to call the service with: with a key of the scope admin.");
  const made = (flags: CommonFlags, found: NewApiKey) => (flags.json === true ? line(found) : say(formatNewKey(found)));
  const scopesFlag = () =>
    new Option("--scopes <scope...>", "what it may do: read, submit, control, admin (read submit control)").choices(scopeNames);
  remoteOf(
    key,
    "create",
    "Make a key of a tenant: shown once, here; the service keeps its hash.",
    "flamboyance key create --tenant birds\nflamboyance key create --tenant birds --name dashboard --scopes read --expires-in 90d",
  )
    .requiredOption("--tenant <name>", "whose key it is")
    .option("--name <name>", "which of the tenant's keys", "main")
    .addOption(scopesFlag())
    .option("--expires-in <time>", "ends by itself, as 90d (never)")
    .action(async (flags: CommonFlags & { tenant: string; name: string; scopes?: Scope[]; expiresIn?: string }) => {
      const facts = {
        tenant: flags.tenant,
        name: flags.name,
        ...(flags.scopes === undefined ? {} : { scopes: flags.scopes }),
        ...(flags.expiresIn === undefined ? {} : { expires_in: readDuration("--expires-in", flags.expiresIn) }),
      };
      await made(flags, await clientOf(flags).keys.create(facts, { signal }));
    });
  remoteOf(key, "list", "List keys by tenant and age; never the keys themselves.", "flamboyance key list --tenant birds")
    .option("--tenant <name>", "only this tenant's")
    .action(async (flags: CommonFlags & { tenant?: string }) => {
      const keys = await Array.fromAsync(clientOf(flags).keys.all({ tenant: flags.tenant, signal }));
      if (flags.json === true) for (const each of keys) await line(each);
      else await say(formatKeys(keys, columns()));
    });
  remoteOf(
    key,
    "rotate",
    "Make a key in the place of this one, which ends after a grace.",
    "flamboyance key rotate birds_01k… --grace 2h\nflamboyance key rotate birds_01k… --grace 0s",
  )
    .argument("<id>", "the key's id")
    .option("--grace <time>", "how long the old one is still good, up to 30d", "24h")
    .action(async (id: string, flags: CommonFlags & { grace: string }) =>
      made(flags, await clientOf(flags).keys.rotate(id, { grace: readDuration("--grace", flags.grace) }, { signal })),
    );
  remoteOf(key, "revoke", "End a key for good, within seconds everywhere.", "flamboyance key revoke birds_01k…")
    .argument("<id>", "the key's id")
    .action(async (id: string, flags: CommonFlags) => {
      const revoked = await clientOf(flags).keys.revoke(id, { signal });
      await (flags.json === true ? line(revoked) : say(`${revoked.id} revoked\n`));
    });
  command(
    key,
    "bootstrap",
    "Make a key without a service, shown once, here; the entry with its hash goes into the api's FLAMBOYANCE_KEYS.",
    "flamboyance key bootstrap --tenant operators --scopes admin\nflamboyance key bootstrap --tenant me --buckets images results",
  )
    .requiredOption("--tenant <name>", "whose key it is")
    .option("--name <name>", "which of the tenant's keys", "main")
    .addOption(scopesFlag())
    .option("--buckets <pattern...>", "what the tenant may read and write; * stands for any characters of a bucket's name")
    .action(async (flags: BootstrapFlags & { json?: boolean }) => {
      const { key: text, entry } = await bootstrapKey(flags);
      if (flags.json === true) await line({ key: text, entry });
      else await say(`key, shown only now:       ${text}\nentry for FLAMBOYANCE_KEYS: ${JSON.stringify(entry)}\n`);
    });

  return program;
}
