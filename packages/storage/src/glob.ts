/**
 * A set of keys told by a pattern: `s3://bucket/prefix/**\/*.jpg`.
 * Owns the pattern language. The matcher walks a set of places in the pattern instead of backtracking: patterns come from callers,
 * and a hostile one must not cost more than pattern × key.
 */
import { CodedError, isCoded } from "@flamboyance/contracts";
import { parseLocation } from "./location.ts";

/** The keys of `bucket` that begin with `prefix` and that `matches` accepts. */
export interface Glob {
  readonly bucket: string;
  /** The literal beginning of the pattern: list this, then ask `matches`. */
  readonly prefix: string;
  readonly matches: (key: string) => boolean;
}

/**
 * Reads a pattern. `*` is any run of characters within a folder, `?` one of them, `**` any run across folders (a whole `**` folder may be no folder at all),
 * `{jpg,jpeg}` one of some texts (not nested). Case counts. Without any of these, a location that ends in `/` (or names only a bucket) stands for all keys below.
 * Folder markers (keys that end in `/`) never match. Throws `storage_invalid_location` for a plain object's location and for a pattern that grows too large.
 *
 * Of these keys, `include` keeps those that match one of its patterns, and `exclude` none that match one of its: both are relative to the folder in which the
 * wildcards begin, and one that ends in `/` stands for all below it.
 *
 *     parseGlob("s3://photos/2024/**\/*.jpg").matches("2024/may/cat.jpg") // → true
 *     parseGlob("s3://photos/2024/", { exclude: ["thumbnails/"] }).matches("2024/thumbnails/cat.jpg") // → false
 */
export function parseGlob(
  text: string,
  { include, exclude }: { readonly include?: readonly string[] | undefined; readonly exclude?: readonly string[] | undefined } = {},
): Glob {
  const glob = parsePlace(text);
  if (include === undefined && exclude === undefined) return glob;
  const folder = glob.prefix.slice(0, glob.prefix.lastIndexOf("/") + 1);
  const included = include === undefined ? null : anyOf(include, "include");
  const excluded = anyOf(exclude ?? [], "exclude");
  const matches = (key: string): boolean => {
    if (!glob.matches(key)) return false;
    const rest = key.slice(folder.length);
    return (included === null || included(rest)) && !excluded(rest);
  };
  return { ...glob, matches };
}

function anyOf(patterns: readonly string[], param: string): (key: string) => boolean {
  try {
    const parsed = patterns.flatMap((pattern) => expandBraces(pattern.endsWith("/") ? `${pattern}**` : pattern).map(parsePattern));
    return (key) => parsed.some((pattern) => matchPattern(pattern, key));
  } catch (error) {
    throw isCoded(error) ? new CodedError(error.code, error.message, { param, cause: error }) : error;
  }
}

function parsePlace(text: string): Glob {
  const { bucket, key } = parseLocation(text);
  const special = key.search(/[*?{]/);
  if (special < 0) {
    if (key !== "" && !key.endsWith("/")) {
      throw new CodedError("storage_invalid_location", `${text} names one object: a prefix ends in "/", or holds a wildcard`);
    }
    return { bucket, prefix: key, matches: (candidate) => candidate.startsWith(key) && !candidate.endsWith("/") };
  }
  const patterns = expandBraces(key).map(parsePattern);
  return {
    bucket,
    prefix: key.slice(0, special),
    matches: (candidate) => !candidate.endsWith("/") && patterns.some((pattern) => matchPattern(pattern, candidate)),
  };
}

const maxAlternatives = 64;

function expandBraces(pattern: string): string[] {
  const found = /\{([^{}]*)\}/.exec(pattern);
  if (found === null) {
    if (/[{}]/.test(pattern)) throw new CodedError("storage_invalid_location", `${pattern}: a brace has no partner`);
    return [pattern];
  }
  const before = pattern.slice(0, found.index);
  const rest = expandBraces(pattern.slice(found.index + found[0].length));
  const all = (found[1] ?? "").split(",").flatMap((alternative) => rest.map((after) => before + alternative + after));
  if (all.length > maxAlternatives) {
    throw new CodedError("storage_invalid_location", `${pattern} stands for more than ${maxAlternatives} patterns`);
  }
  return all;
}

type Token = { kind: "text"; character: string } | { kind: "one" } | { kind: "run" } | { kind: "deepRun" } | { kind: "folders" };

function parsePattern(pattern: string): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern.charAt(at);
    if (character === "?") tokens.push({ kind: "one" });
    else if (character !== "*") tokens.push({ kind: "text", character });
    else if (pattern.charAt(at + 1) !== "*") tokens.push({ kind: "run" });
    else {
      const wholeFolder = (at === 0 || pattern.charAt(at - 1) === "/") && pattern.charAt(at + 2) === "/";
      tokens.push({ kind: wholeFolder ? "folders" : "deepRun" });
      at += wholeFolder ? 2 : 1;
    }
  }
  return tokens;
}

/** Walks the key once, holding every place of the pattern that the key so far can have reached. */
function matchPattern(tokens: readonly Token[], key: string): boolean {
  let places = withSkips(new Set([0]), tokens);
  for (let at = 0; at < key.length && places.size > 0; at++) {
    const character = key.charAt(at);
    const next = new Set<number>();
    for (const place of places) {
      const token = tokens[place];
      if (token === undefined) continue;
      if (token.kind === "text" && token.character === character) next.add(place + 1);
      else if (token.kind === "one" && character !== "/") next.add(place + 1);
      else if (token.kind === "run" && character !== "/") next.add(place);
      else if (token.kind === "deepRun") next.add(place);
      else if (token.kind === "folders") next.add(place);
    }
    places = withSkips(next, tokens, character);
  }
  return places.has(tokens.length);
}

/** Adds the places that need no character: behind a run, and behind `folders` where a folder begins (the key's start, or after a "/"). */
function withSkips(places: Set<number>, tokens: readonly Token[], character = "/"): Set<number> {
  // A set that grows while it is walked is walked to its end.
  for (const place of places) {
    const kind = tokens[place]?.kind;
    if (kind === "run" || kind === "deepRun" || (kind === "folders" && character === "/")) places.add(place + 1);
  }
  return places;
}
