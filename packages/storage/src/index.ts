/** The door of storage: S3, the names of the objects in it, and lines of JSON. */
export { bareEtag } from "./etag.ts";
export { readBatchLines, type BatchLine, type BatchLinesRequest, type LinePlace } from "./batch-lines.ts";
export { openBuckets, type Buckets, type BucketsOptions } from "./buckets.ts";
export { s3Of, s3Variables } from "./environment.ts";
export { parseGlob, type Glob } from "./glob.ts";
export { hasBegun } from "./has-begun.ts";
export { inputForm, type InputForm, type ManifestForm } from "./input-form.ts";
export { jsonLine, readLinePieces, readLines, type Line } from "./json-lines.ts";
export {
  batchKeys,
  batchesPrefix,
  clockKey,
  epochKey,
  epochsPrefix,
  lenderInName,
  lenderKey,
  modelKeys,
  modelsPrefix,
  numberInName,
  openPrefix,
  partInName,
  recipePrefix,
  reusePrefix,
  tenantObjects,
  tenantsPrefix,
  type BatchKeys,
  type FinalKeys,
  type KeyObjects,
  type PlanKeys,
  type TenantObjects,
} from "./keys.ts";
export type { ListedObject, ObjectDescription } from "./list-objects.ts";
export { formatLocation, parseLocation, type Location } from "./location.ts";
export { isModelName, listModelNames, readModelDescription } from "./model-catalogue.ts";
export { decodePlanIndex, encodePlanIndex, planIndexRange, type PlannedChunk } from "./plan-index.ts";
export { readJson } from "./read-json.ts";
export type { ObjectBytes, ReadOptions } from "./read-object.ts";
export { firstResultLineFrom, readResultFile, ResultFile, takeNext, type ResultFileLine } from "./result-files.ts";
export { openStorage, type Storage, type StorageOptions } from "./storage.ts";
export type { WriteOptions } from "./write-object.ts";
