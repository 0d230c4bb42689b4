/** An object's ETag without what stands around it, so that those of listings, answers and manifests compare. Empty where the server tells none. */
export function bareEtag(etag: string): string {
  return etag.trim().replace(/^W\//, "").replaceAll('"', "");
}
