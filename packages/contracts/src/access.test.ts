import { describe, expect, it } from "vitest";
import { access, credentialsFor, hostAllowed, placeAllowed } from "./access.ts";

const may = (patterns: string[], bucket: string, key = "a/b.jpg") => placeAllowed(patterns, { bucket, key });

describe("a pattern", () => {
  it("of a bucket means all of it, its stars any characters, its dots dots", () => {
    expect(may(["photos"], "photos")).toBe(true);
    expect(may(["photos"], "photos-private")).toBe(false);
    expect(may(["demo-*"], "demo-images")).toBe(true);
    expect(may(["demo-*"], "other-demo-images")).toBe(false);
    expect(may(["*-a-*"], "x-a-y-a-z")).toBe(true);
    expect(may(["a.b"], "axb")).toBe(false);
    expect(may(["*"], "anything")).toBe(true);
    expect(may([], "photos")).toBe(false);
  });

  it("of a folder means what lies in it, and not what only begins alike", () => {
    expect(may(["photos/2024/"], "photos", "2024/a.jpg")).toBe(true);
    expect(may(["photos/2024/"], "photos", "2024-private/a.jpg")).toBe(false);
    expect(may(["photos/2024/"], "photos", "2024")).toBe(false);
    expect(may(["photos/2024/"], "photos", "")).toBe(false);
    expect(may(["photos/2024/"], "photos", "2024/")).toBe(true);
    expect(may(["team-*/in/"], "team-a", "in/x")).toBe(true);
  });

  it("of a host means reading from it alone, and no bucket", () => {
    expect(hostAllowed(["https://*.example.com"], "images.example.com")).toBe(true);
    expect(hostAllowed(["https://*.example.com"], "example.com")).toBe(false);
    expect(hostAllowed(["https://example.com"], "example.com.evil.org")).toBe(false);
    expect(hostAllowed(["https://*"], "anywhere.org")).toBe(true);
    // Whoever may use every bucket mayn't use the web for that.
    expect(hostAllowed(["*"], "anywhere.org")).toBe(false);
    expect(may(["https://*"], "photos")).toBe(false);
  });

  it("with many stars costs no more than its length times the name's", () => {
    expect(may([`${"*a".repeat(31)}*b`], "a".repeat(63))).toBe(false);
  });
});

it("takes patterns that can be meant, and no others", () => {
  const taken = (read: string) => access.safeParse({ read: [read] }).success;
  for (const good of ["photos", "demo-*", "photos/2024/", "photos/a b/ü/", "https://*", "https://images.example.com"])
    expect(taken(good), good).toBe(true);
  const bad = [
    "",
    "Photos",
    "s3://photos",
    "photos/2024",
    "photos/",
    "photos/../secret/",
    "photos/./",
    "http://x.org",
    "https://x.org/a",
    "https://x.org:8443",
  ];
  for (const text of bad) expect(taken(text), text).toBe(false);
  expect(access.safeParse({ write: ["https://*"] }).success).toBe(false);
});

it("names credentials and never holds them", () => {
  const given = { buckets: ["birds-*"], secret: "birds", endpoint: "https://s3.birds.example", region: "eu-west-1" };
  const { credentials } = access.parse({ credentials: [given] });
  expect(credentialsFor(credentials, "birds-in")).toEqual(given);
  expect(credentialsFor(credentials, "photos")).toBeNull();
  expect(access.safeParse({ credentials: [{ ...given, access_key_id: "id", secret_access_key: "s" }] }).success).toBe(false);
  // It becomes a file's name.
  for (const secret of ["../etc/passwd", "a/b", "", ".hidden", "A"])
    expect(access.safeParse({ credentials: [{ ...given, secret }] }).success, secret).toBe(false);
  for (const endpoint of ["file:///etc/passwd", "s3.birds.example"])
    expect(access.safeParse({ credentials: [{ ...given, endpoint }] }).success, endpoint).toBe(false);
});
