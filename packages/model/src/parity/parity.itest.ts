/** `npm run parity` as a program: all references are met, and what is wrong is said in a line. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

// Twenty seconds of computing; a machine with other things to do may take many times as long.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });

const references = join(import.meta.dirname, "..", "..", "reference");

describe("the program", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "flamboyance-parity-test-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const run = async (...flags: string[]): Promise<{ status: number; output: string; errors: string }> => {
    const program = [...process.execArgv, join(import.meta.dirname, "main.ts"), ...flags];
    const ended = promisify(execFile)(process.execPath, program).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: unknown) => error as { code: number; stdout: string; stderr: string },
    );
    const { code, stdout, stderr } = await ended;
    return { status: code, output: stdout, errors: stderr };
  };

  it("finds the engine equal to OpenFlamingo on all five references", async () => {
    const { status, output, errors } = await run();
    expect(errors).toBe("");
    expect(status).toBe(0);
    for (const name of ["mpt-qk-norm", "mpt", "neox-sequential", "neox-parallel", "video"]) {
      for (const quantity of ["logits", "greedy: tokens", "beams: tokens, shared prefix", "ranks: sums and means"]) {
        expect(output).toMatch(new RegExp(`\\| ${name} +\\| ${quantity} +\\|.*\\| holds +\\|`));
      }
    }
    expect(output).not.toMatch(/fails/);
  });

  it("prints its help", async () => {
    expect(await run("--help")).toMatchObject({ status: 0, output: expect.stringContaining("--dump") });
  });

  it("says in one line what isn't there: a folder, a file, a flag", async () => {
    for (const flags of [[join(folder, "nowhere")], [references], ["--nonsense"]]) {
      const { status, errors } = await run(...flags);
      expect(status).toBe(2);
      expect(errors.trim().split("\n")).toHaveLength(1);
    }
  });

  it("exits with 1 and names the quantity where a reference isn't met", async () => {
    const wrong = join(folder, "wrong", "mpt");
    await cp(join(references, "images"), join(folder, "wrong", "images"), { recursive: true });
    await cp(join(references, "mpt"), wrong, { recursive: true });
    const json = await readFile(join(wrong, "expected.json"), "utf8");
    await writeFile(join(wrong, "expected.json"), json.replace('"size": 390', '"size": 391'));
    const { status, output, errors } = await run(wrong);
    expect(status).toBe(1);
    expect(output).toMatch(/\| mpt +\| tokenizer +\|.*\| fails/);
    expect(errors).toContain("mpt: tokenizer: size: 390 where 391 is expected");
  });

  it("exits with 1 where a reference asks for what nobody computes", async () => {
    const novel = join(folder, "novel", "mpt");
    await cp(join(references, "images"), join(folder, "novel", "images"), { recursive: true });
    await cp(join(references, "mpt"), novel, { recursive: true });
    const json = await readFile(join(novel, "expected.json"), "utf8");
    const novelty = json.replace('"num_beams": 2,', '"num_beams": 2, "repetition_penalty": 1.2,');
    expect(novelty).not.toBe(json);
    await writeFile(join(novel, "expected.json"), novelty);
    const { status, output, errors } = await run(novel);
    expect(status).toBe(1);
    expect(output).toMatch(/\| mpt +\| generations with unknown options +\| 1 +\|.*\| fails/);
    expect(errors).toContain("repetition_penalty");
  });

  it("says of a folder that is wrong what is wrong with it, by its code, and still judges the others", async () => {
    const wrong = join(folder, "cut-off");
    await cp(join(references, "video"), wrong, { recursive: true });
    await truncate(join(wrong, "checkpoint.pt"), 1000);
    const { status, output, errors } = await run(wrong, join(folder, "nowhere"), `${join(references, "mpt")}/`);
    expect(status).toBe(2);
    expect(errors.split("\n")).toEqual([
      expect.stringMatching(/^parity: cut-off: model_piece_corrupt: .*checkpoint\.pt/),
      expect.stringMatching(/^parity: nowhere: model_piece_missing: .*nowhere isn't there$/),
      "",
    ]);
    expect(output).toMatch(/\| mpt +\| logits +\|.*\| holds +\|/);
  });
});
