import { CodedError, type ErrorCode } from "@flamboyance/contracts";
import type { Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { fetchImage } from "./fetch.ts";

const signal = new AbortController().signal;
const owner = { access: { read: ["photos", "service"], write: [], credentials: [] }, serviceBucket: "service" };

const noWeb = { fetch: () => Promise.reject(new Error("not of the web")), close: () => {} };

/** What becomes of an image whose reading S3 answers with this. */
function fetching(code: ErrorCode, image = "s3://photos/a.jpg") {
  const storage: Partial<Storage> = { read: () => Promise.reject(new CodedError(code, "GET s3://photos/a.jpg: no")) };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that a fetch uses
  const sources = {
    buckets: { of: () => storage as Storage },
    web: noWeb,
  };
  return fetchImage(sources, { image, etag: null }, owner, signal);
}

it.each<[ErrorCode, ErrorCode]>([
  ["storage_not_found", "image_not_found"],
  ["storage_forbidden", "image_forbidden"],
  // A bucket of another region: there, but not to be read from here.
  ["storage_refused", "image_forbidden"],
  ["storage_too_large", "image_too_large"],
  ["storage_precondition_failed", "image_changed"],
  // Passing: never held against the item.
  ["storage_unavailable", "storage_unavailable"],
  ["storage_changed", "storage_changed"],
])("%s is %s", async (met, told) => {
  await expect(fetching(met)).rejects.toMatchObject({ code: told });
});

it("asks for the version that is wanted, and refuses another from a server that doesn't hold to it", async () => {
  const asked: unknown[] = [];
  const storage: Partial<Storage> = {
    read: (_location, { ifMatch }) => {
      asked.push(ifMatch);
      return Promise.resolve({ bytes: Buffer.from("pixels"), etag: '"new"', contentType: null });
    },
  };
  const image = "s3://photos/a.jpg";
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- all that a fetch uses
  const read = (etag: string | null) =>
    fetchImage({ buckets: { of: () => storage as Storage }, web: noWeb }, { image, etag }, owner, signal);
  expect(await read("new")).toMatchObject({ etag: "new" });
  expect(await read(null)).toMatchObject({ etag: "new" });
  await expect(read("old")).rejects.toMatchObject({ code: "image_changed" });
  expect(asked).toEqual(['"new"', undefined, '"old"']);
});

it("reads no bucket but the owner's, and never the service's own", async () => {
  for (const image of ["s3://others/a.jpg", "s3://service/a.jpg"]) {
    await expect(fetching("storage_unavailable", image)).rejects.toMatchObject({ code: "image_forbidden" });
  }
});
