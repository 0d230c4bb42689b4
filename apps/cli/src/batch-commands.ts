/** The commands about batches, from the submit to the delete, the models that they can name and the quotas that bound them. Owns their flags, help and examples; what one does lies in the file of its name. */
import type { Client } from "@flamboyance/client";
import { limits, pixelMode, task, type Batch, type Control } from "@flamboyance/contracts";
import { Option } from "commander";
import { formatBatch, formatBatches, formatErrors, formatQuotas } from "./batches.ts";
import { atLeastOne, decimal, integer, numberOrShare, wholeNumber } from "./flag-number.ts";
import { showDryRun } from "./report.ts";
import { showResults, type ResultsFlags } from "./results.ts";
import type { CommonFlags, Shell } from "./shell.ts";
import { collectPairs, readSubmission, type SubmitFlags } from "./submission.ts";
import { formatTable, formatTime } from "./table.ts";
import { print } from "./terminal.ts";
import { watchBatch } from "./watch.ts";

export function addBatchCommands({ program, terminal, finish, remote, clientOf, columns, say, line }: Shell): void {
  const { err, signal } = terminal;

  const submitted = async (client: Client, batch: Batch, flags: CommonFlags & { readonly watch?: boolean }) => {
    if (flags.watch === true) {
      await print(err, `${batch.id} submitted\n`);
      finish(await watchBatch(client, terminal, batch.id, { json: flags.json === true }));
    } else if (flags.json === true) await line(batch);
    else await say(`${batch.id}\n`);
  };

  remote(
    program,
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
    .option("--question <text>", `vqa: asked of every item without a question of its own; ${upTo(limits.questionCharacters)}`)
    .option("--prompt <text>", `prompt: the text behind each image that brings none of its own; ${upTo(limits.questionCharacters)}`)
    .option("--labels <label...>", `classify: what an image may be called; 2 to ${limits.labels}, each of ${upTo(limits.labelCharacters)}`)
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
    .option("--reuse", "take the answers that earlier batches with --reuse gave to the same, and lend this one's")
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

  remote(program, "watch", "Watch a batch to its end. Ctrl-C leaves it running.", "flamboyance watch batch_01k…")
    .argument("<id>", "the batch")
    .action(async (id: string, flags: CommonFlags) =>
      finish(await watchBatch(clientOf(flags), terminal, id, { json: flags.json === true })),
    );

  remote(program, "show", "Show one batch.", "flamboyance show batch_01k…\nflamboyance show batch_01k… --json | jq .request_counts")
    .argument("<id>", "the batch")
    .action(async (id: string, flags: CommonFlags) => {
      const batch = await clientOf(flags).batches.get(id, { signal });
      await (flags.json === true ? line(batch) : say(formatBatch(batch)));
    });

  remote(
    program,
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
    .option("--output <path>", "a file, with the lines that there are (--follow: all), written whole or not at all")
    .action(async (id: string, flags: CommonFlags & ResultsFlags) => showResults(clientOf(flags), terminal, id, flags));
  remote(
    program,
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
    program,
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
    remote(program, kind, description, `flamboyance ${kind} batch_01k…`)
      .argument("<id>", "the batch")
      .action(async (id: string, flags: CommonFlags) => {
        const batch = await clientOf(flags).batches[kind](id, { signal });
        await (flags.json === true ? line(batch) : say(`${batch.id} ${batch.status}\n`));
      });
  control("cancel", "Stop a batch. What is done stays and can be read.");
  control("pause", "Pause a batch. What runs is finished, nothing further starts, and the deadline stays.");
  control("resume", "Let a paused batch go on; one that its max_failed paused goes on without it.");
  remote(
    program,
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
    program,
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

  remote(
    program,
    "delete",
    "Delete an ended batch and its results for good. What was copied to its output stays.",
    "flamboyance delete batch_01k…",
  )
    .argument("<id>", "the batch")
    .action(async (id: string, flags: CommonFlags) => {
      const deleted = await clientOf(flags).batches.delete(id, { signal });
      await (flags.json === true ? line(deleted) : say(`${deleted.id} deleted\n`));
    });

  remote(program, "list", "List your batches, the newest first.", "flamboyance list\nflamboyance list --limit 5 --json")
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

  remote(program, "quotas", "Show what you have of each quota, and the most that you may have.", "flamboyance quotas").action(
    async (flags: CommonFlags) => {
      const use = await clientOf(flags).quotas.get({ signal });
      await (flags.json === true ? line(use) : say(formatQuotas(use, columns())));
    },
  );

  remote(program, "models", "List the models that the service knows.", "flamboyance models").action(async (flags: CommonFlags) => {
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
}

const upTo = (characters: number): string => `up to ${characters.toLocaleString("en")} characters`;
