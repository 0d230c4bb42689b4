import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import { limits } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { exitCodes } from "./failure.ts";
import { runProgram } from "./program.ts";
import { readSubmission } from "./submission.ts";

const environment = { FLAMBOYANCE_API_KEY: "key", FLAMBOYANCE_URL: "http://127.0.0.1:9" };

it("has help with examples for every command", async () => {
  for (const command of [
    [],
    ["submit"],
    ["watch"],
    ["show"],
    ["results"],
    ["errors"],
    ["retry"],
    ["cancel"],
    ["pause"],
    ["resume"],
    ["priority"],
    ["delete"],
    ["deadline"],
    ["list"],
    ["models"],
    ["quotas"],
    ["model", "import"],
    ["model", "presets"],
    ["tenant", "set"],
    ["tenant", "show"],
    ["tenant", "list"],
    ["key", "create"],
    ["key", "list"],
    ["key", "rotate"],
    ["key", "revoke"],
    ["key", "bootstrap"],
  ]) {
    const { code, out } = await run([...command, "--help"]);
    expect(code, command.join(" ")).toBe(0);
    expect(out.startsWith(["Usage: flamboyance", ...command, ""].join(" "))).toBe(true);
    expect(out).toContain("Examples:");
  }
});

it("stands in docs/command-line.md, with its exit codes", async () => {
  const document = readFileSync(new URL("../../../docs/command-line.md", import.meta.url), "utf8");
  for (const name of [
    "submit",
    "watch",
    "show",
    "results",
    "errors",
    "retry",
    "cancel",
    "pause",
    "resume",
    "priority",
    "delete",
    "deadline",
    "list",
    "models",
    "quotas",
    "model import",
    "model presets",
    "tenant set",
    "tenant show",
    "tenant list",
    "key create",
    "key list",
    "key rotate",
    "key revoke",
    "key bootstrap",
  ]) {
    const { out } = await run([...name.split(" "), "--help"]);
    const description = out.split("\n\n")[1]?.replaceAll("\n", " ");
    expect(document).toMatch(new RegExp(`\\| \`flamboyance ${name}( <\\w+>)*\` \\| `));
    expect(document).toContain(`| ${description} |`);
  }
  for (const code of Object.values(exitCodes)) expect(document).toContain(`\n| ${code} | `);
  const request = /```json\n(.*?)```/s.exec(document)?.[1] ?? "";
  await expect(readSubmission({ file: "request.json" }, () => Promise.resolve(request))).resolves.toMatchObject({ task: "vqa" });
});

it("says how long words may be, in the help and on the page", async () => {
  const { out } = await run(["submit", "--help"]);
  const help = out.replaceAll(/\s+/g, " ");
  const document = readFileSync(new URL("../../../docs/command-line.md", import.meta.url), "utf8");
  const most = `up to ${limits.questionCharacters.toLocaleString("en")} characters`;
  expect(help).toMatch(new RegExp(`--question <text> [^-]*${most}`));
  expect(help).toMatch(new RegExp(`--prompt <text> [^-]*${most}`));
  expect(document).toContain(most);
  for (const text of [help, document]) expect(text).toContain(`up to ${limits.labelCharacters} characters`);
});

it("says its version", async () => {
  expect(await run(["--version"])).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
});

it("answers a wrong command line with code 2 and what is wrong", async () => {
  const cases: [string[], RegExp][] = [
    [["sbumit"], /unknown command 'sbumit'/],
    [["submit", "--modle", "demo"], /unknown option '--modle'/],
    [["submit", "--task", "sing"], /Allowed choices are caption, vqa, classify, prompt/],
    [["submit", "--max-new-tokens", "many"], /a whole number is needed/],
    [["submit", "--temperature", "warm"], /a number is needed/],
    [["submit", "--seed", "1.5"], /a whole number is needed/],
    [["submit", "--model", "demo", "--task", "caption", "--input", "s3://photos/", "--priority", "-11"], /--priority /],
    [["priority", "batch_1", "high"], /a whole number is needed/],
    [["submit", "--early-stopping", "maybe"], /Allowed choices are true, false, never/],
    [["submit", "--model", "demo"], /--task/],
    [["list", "--limit", "0"], /at least 1 is needed/],
    [["tenant", "set", "birds", "--stored-bytes", "10XB"], /a number of bytes is needed, as 500GB/],
    [["watch"], /missing required argument 'id'/],
    [["results", "batch_1", "--table", "--output", "x"], /--table is for the screen/],
    [["results", "batch_1", "--lineage", "--follow"], /--lineage reads what has ended/],
    [["list", "--url", "localhost"], /isn't an http:\/\/ or https:\/\/ address/],
    [["model", "import", "folder", "--vision", "none", "--language-model", "none", "--checkpoint", "none"], /none: no such file/],
    [["model", "import", "folder", "--vision", "none", "--lm", "none"], /--checkpoint is needed, or --preset, which fetches it/],
    [["model", "import", "folder", "--preset", "openflamingo-1b"], /--preset openflamingo-1b isn't one of openflamingo-3b-vitl-mpt1b, /],
    [["key", "bootstrap", "--tenant", "Birds Inc", "--buckets", "birds"], /--tenant must be lower-case/],
    [["key", "bootstrap", "--tenant", "birds", "--buckets", "s3://birds"], /--buckets must be a bucket's name/],
    [["key", "create", "--tenant", "birds", "--scopes", "all"], /Allowed choices are read, submit, control, admin/],
    [["key", "rotate", "birds_1", "--grace", "soon"], /--grace must be a number with s, m, h or d/],
    [["tenant", "set", "birds", "--credentials", "none.json"], /--credentials none.json can't be read/],
  ];
  for (const [commandLine, message] of cases) {
    const { code, err } = await run(commandLine);
    expect(err, commandLine.join(" ")).toMatch(message);
    expect(code, commandLine.join(" ")).toBe(2);
  }
});

it("wants a key before it calls anybody", async () => {
  const { code, err } = await run(["list"], {});
  expect({ code, err }).toEqual({
    code: 2,
    err: "flamboyance: FLAMBOYANCE_API_KEY is not set: the key that `flamboyance key create` showed.\n",
  });
});

it("lists the presets", async () => {
  const { code, out } = await run(["model", "presets"]);
  expect(code).toBe(0);
  expect(out).toContain("openflamingo-9b-vitl-mpt7b ");
  const lines = (await run(["model", "presets", "--json"])).out.trimEnd().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as { name: string }).name)).toHaveLength(5);
});

it("refuses an address or token of the Hub that can't be one", async () => {
  const command = ["model", "import", "folder", "--preset", "openflamingo-3b-vitl-mpt1b"];
  for (const [variables, message] of [
    [{ HF_ENDPOINT: "huggingface.co" }, /HF_ENDPOINT isn't/],
    [{ HF_TOKEN: "secret" }, /HF_TOKEN isn't a token of the Hub: those begin with hf_$/m],
  ] as [Record<string, string>, RegExp][]) {
    const { code, err } = await run(command, variables);
    expect(err).toMatch(message);
    expect(code).toBe(2);
  }
});

it("makes a key whose entry the api takes", async () => {
  const { code, out } = await run(["key", "bootstrap", "--tenant", "birds", "--buckets", "birds-*", "photos", "--json"]);
  expect(code).toBe(0);
  const { key, entry } = JSON.parse(out);
  expect(entry).toMatchObject({ tenant: "birds", name: "main", buckets: ["birds-*", "photos"] });
  expect(createHash("sha256").update(key).digest("hex")).toBe(entry.sha256);
  expect((await run(["key", "bootstrap", "--tenant", "birds", "--buckets", "photos"])).out).toContain("shown only now");
});

async function run(commandLine: string[], variables: Record<string, string> = environment) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const code = await runProgram(commandLine, { out, err, environment: variables, signal: new AbortController().signal });
  return { code, out: String(out.read() ?? ""), err: String(err.read() ?? "") };
}
