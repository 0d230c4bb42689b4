import { describe, expect, it } from "vitest";
import { formatLocation, parseLocation } from "./location.ts";

describe("a location", () => {
  it.each([
    ["s3://photos/cat.jpg", { bucket: "photos", key: "cat.jpg" }],
    ["s3://photos/2024/ä b+c%20d?.jpg", { bucket: "photos", key: "2024/ä b+c%20d?.jpg" }],
    ["s3://a.b-c/", { bucket: "a.b-c", key: "" }],
    ["s3://photos/line\nbreak", { bucket: "photos", key: "line\nbreak" }],
    ["s3://photos/cat.jpg?versionId=3/L4kqt", { bucket: "photos", key: "cat.jpg", versionId: "3/L4kqt" }],
    ["s3://photos/..a/...", { bucket: "photos", key: "..a/..." }],
    ["s3://photos//double//slash/", { bucket: "photos", key: "/double//slash/" }],
  ])("%j is read, and written back", (text, location) => {
    expect(parseLocation(text)).toEqual(location);
    expect(formatLocation(parseLocation(text))).toBe(text);
  });

  it("may name a bucket alone", () => {
    expect(parseLocation("s3://photos")).toEqual({ bucket: "photos", key: "" });
  });

  it.each([
    "",
    "photos/cat.jpg",
    "https://photos/cat.jpg",
    "s3:/photos/cat.jpg",
    "s3:///cat.jpg",
    "s3://ab/x",
    "s3://Photos/x",
    "s3://pho_tos/x",
    "s3://-photos/x",
    "s3://photos-/x",
    "s3://pho..tos/x",
    "s3://photos:9000/x",
    "s3://user@photos/x",
    `s3://${"a".repeat(64)}/x`,
    `s3://photos/${"é".repeat(513)}`,
    "s3://photos/a\0b",
    "s3://photos/\ud800",
    "s3://photos/../private/cat.jpg",
    "s3://photos/a/./b",
    "s3://photos/a/..",
    "s3://photos/..?versionId=3",
  ])("%j is refused", (text) => {
    expect(() => parseLocation(text)).toThrow(expect.objectContaining({ code: "storage_invalid_location" }) as Error);
  });

  it("may have a key of 1,024 bytes", () => {
    expect(parseLocation(`s3://photos/${"é".repeat(512)}`).key).toHaveLength(512);
  });
});
