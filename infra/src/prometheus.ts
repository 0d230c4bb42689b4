/** A Prometheus of one test: scrapes the given addresses every second by the configuration of infra/prometheus, and answers expressions. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startChild } from "@flamboyance/dev/child";
import { freePort } from "@flamboyance/dev/port";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { prometheusFolder } from "./rules.ts";

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Prometheus {
  /** The expression's value now; throws with Prometheus's own words where it can't be parsed or run. */
  query(expr: string): Promise<Sample[]>;
  /** How each alert rule's last evaluation went. */
  rules(): Promise<{ readonly name: string; readonly health: string; readonly lastError?: string | undefined }[]>;
  close(): Promise<void>;
}

/** `targets`: addresses (host:port) by scrape job; every job of prometheus.yml must be there. */
export async function startPrometheus(
  program: string,
  folder: string,
  targets: Readonly<Record<string, readonly string[]>>,
): Promise<Prometheus> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, "prometheus.yml");
  await writeFile(file, await configuration(targets));
  const url = `http://127.0.0.1:${await freePort()}`;
  const child = await startChild({
    command: program,
    args: [`--config.file=${file}`, `--storage.tsdb.path=${join(folder, "data")}`, `--web.listen-address=${new URL(url).host}`],
    logFile: join(folder, "prometheus.log"),
    isReady: async () => (await fetch(`${url}/-/ready`)).ok,
  });
  const ask = async <Data>(path: string, parameters: Record<string, string>, data: z.ZodType<Data>): Promise<Data> => {
    const answer = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(parameters).toString()}`);
    const body: unknown = await answer.json();
    if (!answer.ok) throw new Error(failure.parse(body).error);
    return data.parse(success.parse(body).data);
  };
  return {
    query: async (expr) =>
      (await ask("query", { query: expr }, vector)).result.map(({ metric, value }) => ({ metric, value: Number(value[1]) })),
    rules: async () => (await ask("rules", { type: "alert" }, ruleGroups)).groups.flatMap(({ rules }) => rules),
    close: () => child.close(),
  };
}

const failure = z.object({ error: z.string() });
const success = z.object({ status: z.literal("success"), data: z.unknown() });
const vector = z.object({
  resultType: z.literal("vector"),
  result: z.array(z.object({ metric: z.record(z.string(), z.string()), value: z.tuple([z.number(), z.string()]) })),
});
const ruleGroups = z.object({
  groups: z.array(z.object({ rules: z.array(z.object({ name: z.string(), health: z.string(), lastError: z.string().optional() })) })),
});

/** The operator's own configuration, with a second's interval and with fixed addresses in place of DNS. */
async function configuration(targets: Readonly<Record<string, readonly string[]>>): Promise<string> {
  const read = parse(await readFile(join(prometheusFolder, "prometheus.yml"), "utf8"));
  const { scrape_configs: jobs } = z.object({ scrape_configs: z.array(z.object({ job_name: z.string() })) }).parse(read);
  return stringify({
    global: { scrape_interval: "1s", evaluation_interval: "1s" },
    rule_files: [join(prometheusFolder, "alerts.yml")],
    scrape_configs: jobs.map(({ job_name: name }) => {
      if (targets[name] === undefined) throw new Error(`no address for the scrape job ${name}`);
      return { job_name: name, static_configs: [{ targets: targets[name] }] };
    }),
  });
}
