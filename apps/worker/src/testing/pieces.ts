/** Bytes as a stream gives them, cut at any places: for tests that must not depend on where. */
export async function* cut(bytes: Uint8Array | string, sizeBytes = 64 * 1024): AsyncGenerator<Uint8Array> {
  const whole = Buffer.from(bytes);
  for (let start = 0; start < whole.length; start += sizeBytes) yield new Uint8Array(whole.subarray(start, start + sizeBytes));
}
