/** The door of contracts: what callers, api and workers agree on. */
export {
  batch,
  batchList,
  deletedBatch,
  lineError,
  requestCounts,
  usage,
  type Batch,
  type BatchList,
  type DeletedBatch,
  type LineError,
  type RequestCounts,
  type Usage,
} from "./batch.ts";
export { bucketAllowed } from "./bucket-pattern.ts";
export {
  columns,
  completionWindowSeconds,
  createDatasetBatch,
  manifestLine,
  pixelMode,
  priority,
  resultFormat,
  supportExample,
  task,
  type Columns,
  type CreateDatasetBatch,
  type CreateDatasetBatchInput,
  type ManifestLine,
  type PixelMode,
  type ResultFormat,
  type SupportExample,
  type Task,
} from "./dataset.ts";
export { dryRunReport, type DryRunReport } from "./dry-run.ts";
export { environmentTable, flag, logLevel, readEnvironment, type VariableRow, type Variables } from "./environment.ts";
export { errorBody, toErrorBody, type ErrorBody } from "./error-body.ts";
export { CodedError, errorTable, isCoded, type ErrorCode } from "./error-code.ts";
export { beamsOf, generation, isSampled, type Generation } from "./generation.ts";
export { limits } from "./limits.ts";
export { model, modelIdentity, modelKeyOf, modelList, precisionOf, type Model, type ModelIdentity, type ModelList } from "./model.ts";
export {
  chatCompletion,
  comparePositions,
  failedLine,
  linePosition,
  lineSucceeded,
  neverRanLine,
  provenance,
  refusedResultLine,
  resultLine,
  succeededLine,
  type ChatCompletion,
  type ItemIdentity,
  type LinePosition,
  type Provenance,
  type ResultLine,
} from "./result-line.ts";
export { resultsPage, type ResultsPage } from "./results-page.ts";
export {
  batchOutcome,
  batchStatus,
  isEnded,
  recordStatus,
  shownStatus,
  type BatchOutcome,
  type BatchStatus,
  type RecordStatus,
} from "./status.ts";
export { newKey, tenantKey, tenantKeys, type TenantKey } from "./tenant-key.ts";
export {
  after,
  batchRequest,
  control,
  deletion,
  end,
  frontier,
  item,
  partChoice,
  plan,
  rebuilt,
  refusedLine,
  resultsSummary,
  seal,
  tally,
  type After,
  type BatchRequest,
  type Control,
  type Deletion,
  type End,
  type Frontier,
  type Item,
  type ModelReference,
  type PartChoice,
  type Plan,
  type Rebuilt,
  type RefusedLine,
  type ResultsSummary,
  type Seal,
  type Tally,
} from "./stored.ts";
