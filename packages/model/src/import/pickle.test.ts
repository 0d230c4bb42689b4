import { isCoded } from "@flamboyance/contracts";
import { describe, expect, test } from "vitest";
import { unpickle } from "./pickle.ts";

const pickle = (...parts: readonly (string | number)[]): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === "number" ? Buffer.from([part]) : Buffer.from(part, "latin1"))));

function faultOf(bytes: Uint8Array, torchScript = false): string {
  try {
    unpickle(bytes, "file", { torchScript });
    return "none";
  } catch (error) {
    return isCoded(error) ? error.code : String(error);
  }
}

describe("plain values", () => {
  test.each([
    ["N.", null],
    ["I01\n.", true],
    ["I42\n.", 42],
    ["J\xff\xff\xff\xff.", -1],
    ["\x8a\x02\xff\x7f.", 32_767],
    ["\x8a\x01\xff.", -1],
    ["\x8a\x00.", 0],
    ["G\x3f\xe0\0\0\0\0\0\0.", 0.5],
    ["X\x03\0\0\0\xc3\xa9!.", "é!"],
    ["\x8a\x09\0\0\0\0\0\0\0\0\x01.", 2n ** 64n],
  ])("%j", (text, value) => {
    expect(unpickle(pickle(text), "file").value).toBe(value);
  });

  test("containers keep their order, and what was kept is recalled as the same", () => {
    const { value, end } = unpickle(pickle("](K\x01K\x02e.", "rest"), "file");
    expect(value).toEqual({ kind: "list", items: [1, 2] });
    expect(end).toBe(8);
    expect(unpickle(pickle("}q\0(X\x01\0\0\0aK\x01u0h\0."), "file").value).toEqual({ kind: "dict", entries: new Map([["a", 1]]) });
  });
});

describe("nothing is executed", () => {
  test.each([
    ["a name, even uncalled", "cbuiltins\neval\n."],
    ["a call of a name", "cos\nsystem\n(X\x02\0\0\0lst\x85R."],
    ["a name from the stack", "\x8c\x02os\x8c\x06system\x93."],
    ["an allowed module's other name", "ctorch\nload\n."],
    ["a name that hides in a prototype", "ctorch\nconstructor\n."],
    ["a name one level deeper", "ctorch._utils\n_rebuild_tensor_v2.__globals__\n."],
    ["an instance by INST", "(ios\nsystem\n."],
    ["an instance by OBJ", "(cos\nsystem\no."],
    ["an object of an allowed name", "ccollections\nOrderedDict\n)\x81."],
    ["a state put on a list", "](K\x01K\x02e}b."],
    ["an extension", "\x82\x01."],
    ["a persistent id that isn't a storage", "X\x01\0\0\0aX\x01\0\0\0b\x86Q."],
    ["a TorchScript class in another file", "c__torch__.Model\nLinear\n."],
    ["an unknown protocol", "\x80\x09."],
  ])("%s is refused", (_, text) => {
    expect(faultOf(pickle(text))).toBe("pickle_refused");
  });

  test("a TorchScript class is a label in an archive, and can't be called", () => {
    expect(faultOf(pickle("c__torch__.Model\nLinear\n)\x81}b."), true)).toBe("none");
    expect(faultOf(pickle("c__torch__.Model\nLinear\n)R."), true)).toBe("pickle_refused");
    expect(faultOf(pickle("c__torch__os\nsystem\n."), true)).toBe("pickle_refused");
  });
});

describe("a broken pickle is corrupt, not a crash", () => {
  test.each([
    ["without an end", "N"],
    ["an empty stack", "."],
    ["a tuple without a mark", "t."],
    ["a text longer than the file", "X\xff\xff\xff\x7fa."],
    ["bytes of a length beyond all bounds", "\x8e\xff\xff\xff\xff\xff\xff\xff\xff."],
    ["something never kept", "h\x07."],
    ["a key without a value", "}(K\x01u."],
    [
      "a tensor with a negative size",
      "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQK\0J\xff\xff\xff\xff\x85K\x01\x85\x89NtR.",
    ],
  ])("%s", (_, text) => {
    expect(faultOf(pickle(text))).toBe("model_piece_corrupt");
  });

  test("random bytes end in one of the two errors or in a value", () => {
    let seed = 7;
    const next = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) >> 8;
    for (let round = 0; round < 3_000; round += 1) {
      const bytes = Uint8Array.from({ length: next() % 40 }, () => next() % 256);
      expect(["none", "pickle_refused", "model_piece_corrupt"]).toContain(faultOf(bytes, round % 2 === 0));
    }
  });
});
