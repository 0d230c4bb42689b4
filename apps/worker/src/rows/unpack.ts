/**
 * A packed manifest's bytes, unpacked as they come. Owns the bound against bombs, and whose fault a broken stream is: what its source throws passes as it
 * is, what the bytes themselves are guilty of is the manifest's. Refuses to end as if whole where the packed bytes are cut off.
 */
import { pipeline, Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { CodedError, isCoded, limits } from "@flamboyance/contracts";
import { wholeFrames } from "./zstd-frames.ts";

/** Throws manifest_unreadable for bytes that are damaged, cut off or of another form, and manifest_too_large for a bomb. */
export async function* unpack(pieces: AsyncIterable<Uint8Array>, compression: "gzip" | "zstd"): AsyncGenerator<Uint8Array> {
  let packedBytes = 0;
  let unpackedBytes = 0;
  const sourceFailures: unknown[] = [];
  let given = false; // a piece: what is thrown then comes back from the unpacker, and isn't the source's
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of compression === "zstd" ? wholeFrames(pieces) : pieces) {
        packedBytes += piece.length;
        given = true;
        yield piece;
        given = false;
      }
    } catch (error) {
      if (!given) sourceFailures.push(error);
      throw error;
    }
  }
  const unpacker = compression === "gzip" ? createGunzip({ chunkSize: pieceBytes }) : createZstdDecompress({ chunkSize: pieceBytes });
  // A failure of either comes out of the loop below; the callback only keeps it from being nobody's.
  pipeline(Readable.from(source(), { highWaterMark: 2 }), unpacker, () => {});
  try {
    for await (const piece of unpacker as AsyncIterable<Uint8Array>) {
      unpackedBytes += piece.length;
      if (unpackedBytes > limits.manifestFreeBytes && unpackedBytes > packedBytes * limits.manifestInflation) {
        throw new CodedError("manifest_too_large", `it unpacks to more than ${limits.manifestInflation} times its ${compression} bytes`);
      }
      yield piece;
    }
  } catch (error) {
    if (sourceFailures.length > 0) throw sourceFailures[0];
    if (isCoded(error)) throw error;
    throw new CodedError("manifest_unreadable", `its ${compression} bytes are damaged, cut off, or something else`, { cause: error });
  }
}

const pieceBytes = 64 * 1024;
