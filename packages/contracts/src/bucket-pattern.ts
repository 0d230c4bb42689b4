/** Which buckets a tenant may use. A pattern is a bucket's name in which `*` stands for any characters: `demo-*`, `*`. */

export function bucketAllowed(patterns: readonly string[], bucket: string): boolean {
  return patterns.some((pattern) => matches(pattern, bucket));
}

function matches(pattern: string, bucket: string): boolean {
  const literal = pattern.split("*").map((text) => text.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`));
  return new RegExp(`^${literal.join(".*")}$`).test(bucket);
}
