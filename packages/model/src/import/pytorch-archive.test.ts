/** PyTorch's files as PyTorch wrote them: fixtures/make.py made them. */
import { access, copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isCoded } from "@flamboyance/contracts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readWeights } from "./weights-file.ts";

const fixture = (name: string): string => join(import.meta.dirname, "fixtures", name);
const counting = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pytorch-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function numbers(path: string, name: string): Promise<number[]> {
  const bytes = await tensor(path, name).then((found) => found.read());
  return [...new Float32Array(bytes.slice().buffer)];
}

async function tensor(path: string, name: string) {
  const found = (await readWeights(path)).tensors.get(name);
  if (found === undefined) throw new Error(`${name} isn't in ${path}`);
  return found;
}

async function codeOf(action: Promise<unknown>): Promise<string | undefined> {
  const error: unknown = await action.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return isCoded(error) ? error.code : String(error);
}

describe.each(["views.pt", "views-protocol-4.pt", "views-legacy.pt"])("views of one storage in %s", (name) => {
  test("the whole is read as it lies", async () => {
    expect(await numbers(fixture(name), "whole")).toEqual(counting(24));
  });

  test("a transposed view is read in the order of its own shape", async () => {
    expect((await tensor(fixture(name), "transposed")).shape).toEqual([6, 4]);
    expect(await numbers(fixture(name), "transposed")).toEqual(counting(24).map((index) => (index % 4) * 6 + Math.floor(index / 4)));
  });

  test("rows and every second column are read from within it", async () => {
    expect(await numbers(fixture(name), "rows")).toEqual(counting(12).map((index) => index + 6));
    expect(await numbers(fixture(name), "columns")).toEqual(counting(12).map((index) => index * 2));
  });

  test("scalars, empty tensors and every dtype are described", async () => {
    const described = [...(await readWeights(fixture(name))).tensors.values()].map(({ name: label, dtype, shape }) => [
      label,
      dtype,
      ...shape,
    ]);
    expect(described.slice(4)).toEqual([
      ["scalar", "f16"],
      ["short", "bf16", 3],
      ["counts", "i64", 2],
      ["empty", "f32", 0, 3],
    ]);
    expect(Buffer.from(await (await tensor(fixture(name), "short")).read()).toString("hex")).toBe("0000803f0040");
  });
});

test.each(["state-dict.pt", "parameters.pt", "training.pt"])(
  "%s: bare, as parameters or beside an optimizer, a state dict is the same",
  async (name) => {
    const file = await readWeights(fixture(name));
    expect([...file.tensors.keys()]).toEqual(["weight", "bias"]);
    expect(await numbers(fixture(name), "weight")).toEqual([0, 1, 2, 3]);
    expect(await numbers(fixture(name), "bias")).toEqual([4, 5]);
  },
);

test("a TorchScript archive is read by attribute path, its classes as labels", async () => {
  const file = await readWeights(fixture("scripted.pt"));
  expect([...file.tensors.keys()]).toEqual(["inner.weight", "inner.bias"]);
  expect(file.moduleClasses?.get("inner")).toBe("__torch__.torch.nn.modules.linear.Linear");
});

describe("what is refused", () => {
  test.each(["evil.pt", "evil-legacy.pt"])("%s: a call of os.system is refused by name, and not made", async (name) => {
    const error: unknown = await readWeights(fixture(name)).catch((reason: unknown) => reason);
    expect(isCoded(error, "pickle_refused") && error.message).toContain("posix.system");
    await expect(access("executed.txt")).rejects.toThrow();
    await expect(access(fixture("executed.txt"))).rejects.toThrow();
  });

  test("a whole module, which would need torch's classes, is refused", async () => {
    expect(await codeOf(readWeights(fixture("whole-module.pt")))).toBe("pickle_refused");
  });

  test("a file that is neither form is unsupported, and one that isn't there is missing", async () => {
    await writeFile(join(folder, "text"), "weights, they said");
    expect(await codeOf(readWeights(join(folder, "text")))).toBe("model_piece_unsupported");
    expect(await codeOf(readWeights(join(folder, "nowhere")))).toBe("model_piece_missing");
  });
});

describe("a file that is cut off is corrupt wherever the cut is", () => {
  test.each(["views.pt", "views-legacy.pt", "scripted.pt"])("%s", async (name) => {
    const whole = await readFile(fixture(name));
    const path = join(folder, name);
    for (let length = 10; length < whole.length; length += 97) {
      await writeFile(path, whole.subarray(0, length));
      expect(await codeOf(readWeights(path)), `${length} bytes of ${whole.length}`).toBe("model_piece_corrupt");
    }
  });

  test("also where it is cut between looking and reading", async () => {
    const path = join(folder, "shrinking.pt");
    await copyFile(fixture("views-legacy.pt"), path);
    const last = await tensor(path, "whole");
    await writeFile(path, (await readFile(path)).subarray(0, 600));
    expect(await codeOf(last.read())).toBe("model_piece_corrupt");
  });
});
