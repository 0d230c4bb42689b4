/** Conditional requests: If-Match and its like, on reads and on writes. */
import type { ObjectFacts } from "./objects.ts";
import type { S3Request } from "./request.ts";
import { S3Error } from "./s3-error.ts";

/** Throws NotModified or PreconditionFailed where a read's conditions don't hold. */
export function checkReadConditions(request: S3Request, object: ObjectFacts): void {
  const ifMatch = request.header("if-match");
  const ifNoneMatch = request.header("if-none-match");
  const modified = Math.floor(Date.parse(object.lastModified) / 1000) * 1000;
  if (ifMatch !== undefined ? !names(ifMatch, object.etag) : isBefore(request.header("if-unmodified-since"), modified)) throw failed();
  const unchanged =
    ifNoneMatch !== undefined ? names(ifNoneMatch, object.etag) : isNotBefore(request.header("if-modified-since"), modified);
  if (unchanged) throw new S3Error("NotModified", "", { etag: object.etag, "last-modified": new Date(modified).toUTCString() });
}

/** The same for a write, asked in the moment of the write. */
export function checkWriteConditions(request: S3Request): (existing: ObjectFacts | undefined) => void {
  const ifMatch = request.header("if-match");
  const ifNoneMatch = request.header("if-none-match");
  if (ifNoneMatch !== undefined && ifNoneMatch !== "*") throw new S3Error("NotImplemented", "If-None-Match takes only * on a write.");
  return (existing) => {
    if (ifNoneMatch === "*" && existing !== undefined) throw failed();
    if (ifMatch === undefined) return;
    if (existing === undefined) throw new S3Error("NoSuchKey", "The specified key does not exist.");
    if (!names(ifMatch, existing.etag)) throw failed();
  };
}

const failed = (): S3Error => new S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
const bare = (etag: string): string => etag.trim().replaceAll('"', "");
const names = (list: string, etag: string): boolean => list.split(",").some((one) => one.trim() === "*" || bare(one) === bare(etag));
const isBefore = (header: string | undefined, modified: number): boolean => header !== undefined && Date.parse(header) < modified;
const isNotBefore = (header: string | undefined, modified: number): boolean => header !== undefined && Date.parse(header) >= modified;
