/**
 * An image's bytes from its owner's bucket. Owns what S3's refusals mean for an item, and whose buckets may be read.
 * Passing faults (S3 away, throttled) are thrown as they are: they never become an item's error.
 */
import { bucketAllowed, CodedError, isCoded, limits, type ErrorCode } from "@flamboyance/contracts";
import { bareEtag, parseLocation, type Location, type Storage } from "@flamboyance/storage";

export interface Owner {
  /** Patterns of the buckets that the batch's tenant may use. */
  readonly buckets: readonly string[];
  /** The service's own bucket: nobody's images lie there. */
  readonly serviceBucket: string;
}

const itemCodes: Partial<Record<ErrorCode, ErrorCode>> = {
  storage_not_found: "image_not_found",
  storage_forbidden: "image_forbidden",
  storage_precondition_failed: "image_changed",
  storage_too_large: "image_too_large",
  storage_invalid_location: "image_not_found",
  storage_refused: "image_forbidden",
};

/** An image, and the ETag that it must have (without quotes); null: any. */
export interface WantedImage {
  readonly image: string;
  readonly etag: string | null;
}

export interface FetchedImage {
  readonly bytes: Uint8Array;
  /** Without quotes; null where the server tells none. */
  readonly etag: string | null;
}

/** Throws image_not_found, image_forbidden, image_changed, image_too_large; passing faults as they are. */
export async function fetchImage(storage: Storage, { image, etag }: WantedImage, owner: Owner, signal: AbortSignal): Promise<FetchedImage> {
  try {
    const location = parseLocation(image);
    if (!mayRead(location, owner)) throw new CodedError("image_forbidden", `${image}: this bucket may not be used`);
    const condition = etag === null ? {} : { ifMatch: `"${etag}"` };
    const { bytes, etag: told } = await storage.read(location, { signal, maxBytes: limits.imageBytes, ...condition });
    const found = bareEtag(told) || null;
    // Not every server holds to if-match.
    if (etag !== null && found !== null && found !== etag)
      throw new CodedError("image_changed", `${image}: its ETag is ${found}, not ${etag}`);
    return { bytes, etag: found };
  } catch (error) {
    throw itemFailure(error);
  }
}

function itemFailure(error: unknown): unknown {
  const code = isCoded(error) ? itemCodes[error.code] : undefined;
  return code === undefined || !isCoded(error) ? error : new CodedError(code, error.message, { cause: error });
}

/** What the image is, without its bytes. Throws as fetchImage does. */
export async function describeImage(
  storage: Storage,
  { image, etag }: WantedImage,
  owner: Owner,
  signal: AbortSignal,
): Promise<{ readonly sizeBytes: number }> {
  try {
    const location = parseLocation(image);
    if (!mayRead(location, owner)) throw new CodedError("image_forbidden", `${image}: this bucket may not be used`);
    const found = await storage.describe(location, { signal });
    if (found === null) throw new CodedError("image_not_found", `there is no ${image}`);
    const told = bareEtag(found.etag);
    if (etag !== null && told !== "" && told !== etag) throw new CodedError("image_changed", `${image}: its ETag is ${told}, not ${etag}`);
    if (found.sizeBytes > limits.imageBytes) throw new CodedError("image_too_large", `${image} has more than ${limits.imageBytes} bytes`);
    return found;
  } catch (error) {
    throw itemFailure(error);
  }
}

export function mayRead(location: Location, { buckets, serviceBucket }: Owner): boolean {
  return location.bucket !== serviceBucket && bucketAllowed(buckets, location.bucket);
}
