import { describe, expect, it } from "vitest";
import { parseGlob } from "./glob.ts";

const matching = (pattern: string, keys: readonly string[]): string[] => keys.filter(parseGlob(`s3://photos/${pattern}`).matches);

describe("a glob", () => {
  const keys = ["a.jpg", "a.png", "p/a.jpg", "p/b.JPG", "p/q/a.jpg", "p/q/r/b.jpeg", "pa.jpg", "p/q/", "q/p/a.jpg"];

  it.each([
    ["*.jpg", ["a.jpg", "pa.jpg"]],
    ["p/*.jpg", ["p/a.jpg"]],
    ["**/a.jpg", ["a.jpg", "p/a.jpg", "p/q/a.jpg", "q/p/a.jpg"]],
    ["**/*.jpg", ["a.jpg", "p/a.jpg", "p/q/a.jpg", "pa.jpg", "q/p/a.jpg"]],
    ["p/**/*.jpg", ["p/a.jpg", "p/q/a.jpg"]],
    ["p/**", ["p/a.jpg", "p/b.JPG", "p/q/a.jpg", "p/q/r/b.jpeg"]],
    ["p**.jpg", ["p/a.jpg", "p/q/a.jpg", "pa.jpg"]],
    ["**/p/*", ["p/a.jpg", "p/b.JPG", "q/p/a.jpg"]],
    ["**/q/**/*.{jpg,jpeg}", ["p/q/a.jpg", "p/q/r/b.jpeg", "q/p/a.jpg"]],
    ["?.{jpg,png}", ["a.jpg", "a.png"]],
    ["p/?/a.jpg", ["p/q/a.jpg"]],
    ["?/a.jpg", ["p/a.jpg"]],
    ["p{,a}{.jpg,/a.jpg}", ["p/a.jpg", "pa.jpg"]],
    ["", ["a.jpg", "a.png", "p/a.jpg", "p/b.JPG", "p/q/a.jpg", "p/q/r/b.jpeg", "pa.jpg", "q/p/a.jpg"]],
    ["p/q/", ["p/q/a.jpg", "p/q/r/b.jpeg"]],
  ])("%j matches just what it says", (pattern, expected) => {
    expect(matching(pattern, keys)).toEqual(expected);
  });

  it("tells the prefix that is to be listed", () => {
    expect(parseGlob("s3://photos/2024/**/*.jpg")).toMatchObject({ bucket: "photos", prefix: "2024/" });
    expect(parseGlob("s3://photos/2024/ma?/x").prefix).toBe("2024/ma");
    expect(parseGlob("s3://photos/{a,b}/").prefix).toBe("");
    expect(parseGlob("s3://photos/2024/").prefix).toBe("2024/");
    expect(parseGlob("s3://photos").prefix).toBe("");
  });

  it.each([
    ["", { include: ["*.jpg"] }, ["a.jpg", "pa.jpg"]],
    ["", { exclude: ["p/", "*.png"] }, ["a.jpg", "pa.jpg", "q/p/a.jpg"]],
    ["p/", { include: ["*.jpg", "q/**"], exclude: ["**/b.*"] }, ["p/a.jpg", "p/q/a.jpg"]],
    ["p/", { include: ["p/a.jpg"] }, []],
    ["p/**/*.jpg", { exclude: ["q/a.jpg"] }, ["p/a.jpg"]],
    ["p/q/?.{jpg,png}", { include: ["a.jpg"] }, ["p/q/a.jpg"]],
    ["p/", { include: ["{a,b}.{jpg,JPG}"], exclude: ["b*"] }, ["p/a.jpg"]],
  ])("%j is narrowed by %j, relative to its folder", (pattern, narrowed, expected) => {
    expect(keys.filter(parseGlob(`s3://photos/${pattern}`, narrowed).matches)).toEqual(expected);
  });

  it("says which pattern is refused", () => {
    for (const param of ["include", "exclude"]) {
      expect(() => parseGlob("s3://photos/", { [param]: ["fine", "{a"] })).toThrow(
        expect.objectContaining({ code: "storage_invalid_location", param }) as Error,
      );
    }
  });

  it("takes characters that mean something elsewhere as they are", () => {
    expect(matching("a.[b]+(c)^$|*", ["a.[b]+(c)^$|d", "axb", "a.b"])).toEqual(["a.[b]+(c)^$|d"]);
  });

  it.each(["s3://photos/cat.jpg", "s3://photos/2024", "s3://photos/{a", "s3://photos/a}*", `s3://photos/${"{a,b}".repeat(7)}`, "s3://P/*"])(
    "%j is refused",
    (pattern) => {
      expect(() => parseGlob(pattern)).toThrow(expect.objectContaining({ code: "storage_invalid_location" }) as Error);
    },
  );

  it("costs no more than pattern × key, whatever the pattern", () => {
    // With a backtracking matcher this case would outlast the universe.
    expect(matching(`${"*a".repeat(60)}b`, ["a".repeat(1000)])).toEqual([]);
    expect(matching(`${"**/".repeat(60)}b`, ["a/".repeat(300)])).toEqual([]);
  });
});
