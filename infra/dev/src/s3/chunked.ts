/**
 * The aws-chunked form of a body: chunks with their lengths, with or without signatures, and trailers behind them.
 * Owns the framing and the check of the chain of signatures. Refuses a body that ends early or says more than it should.
 */
import { createHash } from "node:crypto";
import { S3Error } from "./s3-error.ts";
import type { SigningChain } from "./signature.ts";

export interface ChunkedBody {
  /** The bytes within the chunks. */
  readonly pieces: AsyncIterable<Buffer>;
  /** What stood behind them, by lower-case name; complete once `pieces` has ended. */
  readonly trailers: ReadonlyMap<string, string>;
}

/** Takes the framing off. With a chain, each chunk (and the trailers, where there are any) must carry the next signature. */
export function decodeChunks(body: AsyncIterable<Buffer>, chain: SigningChain | null, hasTrailers: boolean): ChunkedBody {
  const trailers = new Map<string, string>();
  return { pieces: readChunks(takeFrom(body), chain, hasTrailers, trailers), trailers };
}

async function* readChunks(
  input: ByteInput,
  chain: SigningChain | null,
  hasTrailers: boolean,
  trailers: Map<string, string>,
): AsyncGenerator<Buffer> {
  for (;;) {
    const [size = "", ...extensions] = (await input.line()).split(";");
    const sizeBytes = /^[0-9a-f]{1,8}$/i.test(size) ? Number.parseInt(size, 16) : Number.NaN;
    if (Number.isNaN(sizeBytes)) throw new S3Error("InvalidRequest", "A chunk's size can't be read.");
    const hash = createHash("sha256");
    let leftBytes = sizeBytes;
    while (leftBytes > 0) {
      const piece = await input.some(leftBytes);
      leftBytes -= piece.length;
      if (chain !== null) hash.update(piece);
      yield piece;
    }
    if (chain !== null) {
      const signature = extensions.find((extension) => extension.startsWith("chunk-signature="))?.slice("chunk-signature=".length);
      chain.verifyChunk(hash.digest("hex"), signature ?? "");
    }
    if (sizeBytes === 0) break;
    if ((await input.line()) !== "") throw new S3Error("InvalidRequest", "A chunk is longer than its size.");
  }
  if (hasTrailers) await readTrailers(input, chain, trailers);
}

async function readTrailers(input: ByteInput, chain: SigningChain | null, trailers: Map<string, string>): Promise<void> {
  let signature = "";
  let signedText = "";
  for (let line = await input.line(); line !== ""; line = await input.line()) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === "x-amz-trailer-signature") signature = value;
    else {
      trailers.set(name, value);
      signedText += `${name}:${value}\n`;
    }
  }
  chain?.verifyTrailers(createHash("sha256").update(signedText).digest("hex"), signature);
}

interface ByteInput {
  /** The next line without its end; an empty one where the body has ended. */
  line(): Promise<string>;
  /** At least one and at most so many bytes. */
  some(atMost: number): Promise<Buffer>;
}

const longestLineBytes = 8192;

function takeFrom(body: AsyncIterable<Buffer>): ByteInput {
  const source = body[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);
  const more = async (): Promise<boolean> => {
    const next = await source.next();
    if (next.done === true) return false;
    held = held.length === 0 ? next.value : Buffer.concat([held, next.value]);
    return true;
  };
  return {
    line: async () => {
      for (;;) {
        const end = held.indexOf("\r\n");
        if (end >= 0) {
          const line = held.toString("latin1", 0, end);
          held = held.subarray(end + 2);
          return line;
        }
        if (held.length > longestLineBytes) throw new S3Error("InvalidRequest", "A line of the chunked body is too long.");
        if (await more()) continue;
        if (held.length > 0) throw new S3Error("IncompleteBody", "The body ended in the middle of a line.");
        return "";
      }
    },
    some: async (atMost) => {
      if (held.length === 0 && !(await more())) throw new S3Error("IncompleteBody", "The body ended in the middle of a chunk.");
      const piece = held.subarray(0, atMost);
      held = held.subarray(piece.length);
      return piece;
    },
  };
}
