/**
 * An image's bytes from where its owner may read. Owns what S3's refusals mean for an item, and which places may be read; the web's are web-image's.
 * Passing faults (S3 away, throttled) are thrown as they are: they never become an item's error.
 */
import { CodedError, hostAllowed, isCoded, limits, placeAllowed, type Access, type ErrorCode } from "@flamboyance/contracts";
import { bareEtag, parseLocation, type Buckets, type Location } from "@flamboyance/storage";
import type { WebImages } from "./web-image.ts";

export interface Owner {
  /** What the batch's tenant may touch. */
  readonly access: Access;
  /** The service's own bucket: nobody's images lie there. */
  readonly serviceBucket: string;
}

/** Where images come from. */
export interface ImageSources {
  readonly buckets: Pick<Buckets, "of">;
  readonly web: WebImages;
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

/** Throws image_not_found, image_forbidden, image_changed, image_too_large, image_unavailable; passing faults as they are. */
export async function fetchImage(
  { buckets, web }: ImageSources,
  { image, etag }: WantedImage,
  owner: Owner,
  signal: AbortSignal,
): Promise<FetchedImage> {
  const { access } = owner;
  if (isWeb(image)) {
    const bytes = await web.fetch(image, { mayRead: (host) => hostAllowed(access.read, host), maxBytes: limits.imageBytes }, signal);
    return { bytes, etag: null };
  }
  try {
    const location = parseLocation(image);
    if (!mayRead(location, owner)) throw new CodedError("image_forbidden", `${image}: this place may not be used`);
    const condition = etag === null ? {} : { ifMatch: `"${etag}"` };
    const { bytes, etag: told } = await buckets
      .of(access.credentials)
      .read(location, { signal, maxBytes: limits.imageBytes, ...condition });
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

/** What an image in S3 is, without its bytes. Throws as fetchImage does. */
export async function describeImage(
  { buckets }: Pick<ImageSources, "buckets">,
  { image, etag }: WantedImage,
  owner: Owner,
  signal: AbortSignal,
): Promise<{ readonly sizeBytes: number }> {
  try {
    const location = parseLocation(image);
    if (!mayRead(location, owner)) throw new CodedError("image_forbidden", `${image}: this place may not be used`);
    const found = await buckets.of(owner.access.credentials).describe(location, { signal });
    if (found === null) throw new CodedError("image_not_found", `there is no ${image}`);
    const told = bareEtag(found.etag);
    if (etag !== null && told !== "" && told !== etag) throw new CodedError("image_changed", `${image}: its ETag is ${told}, not ${etag}`);
    if (found.sizeBytes > limits.imageBytes) throw new CodedError("image_too_large", `${image} has more than ${limits.imageBytes} bytes`);
    return found;
  } catch (error) {
    throw itemFailure(error);
  }
}

/** Of a prefix: all that begins with it. */
export function mayRead({ bucket, key }: Location, { access, serviceBucket }: Owner): boolean {
  return bucket !== serviceBucket && placeAllowed(access.read, { bucket, key });
}

/** Why an item can't name this image, as far as that shows without a look at it; null: it can. */
export function refusalOf(image: string, owner: Owner): { readonly code: ErrorCode; readonly message: string } | null {
  if (isWeb(image)) {
    if (!URL.canParse(image)) return { code: "invalid_line", message: "isn't an address" };
    const { hostname } = new URL(image);
    if (hostAllowed(owner.access.read, hostname)) return null;
    return { code: "bucket_not_allowed", message: `the host ${hostname} may not be used` };
  }
  try {
    const location = parseLocation(image);
    if (mayRead(location, owner)) return null;
    return { code: "bucket_not_allowed", message: `this place in the bucket ${location.bucket} may not be used` };
  } catch (error) {
    if (!isCoded(error, "storage_invalid_location")) throw error;
    return { code: "invalid_line", message: error.message };
  }
}

export const isWeb = (image: string): boolean => image.startsWith("https:");
