/** The door of contracts: what callers, api and workers agree on. */
export {
  batch,
  batchErrors,
  batchList,
  lineError,
  requestCounts,
  retryBatch,
  usage,
  type Batch,
  type BatchErrors,
  type BatchList,
  type LineError,
  type RequestCounts,
  type RetryBatch,
  type Usage,
} from "./batch.ts";
export { bucketAllowed } from "./bucket-pattern.ts";
export {
  columns,
  completionWindow,
  completionWindowSeconds,
  createDatasetBatch,
  manifestLine,
  maxFailed,
  pixelMode,
  priority,
  supportExample,
  task,
  type Columns,
  type CreateDatasetBatch,
  type CreateDatasetBatchInput,
  type ManifestLine,
  type MaxFailed,
  type PixelMode,
  type SupportExample,
  type Task,
} from "./dataset.ts";
export { environmentTable, flag, logLevel, readEnvironment, type VariableRow, type Variables } from "./environment.ts";
export { errorBody, toErrorBody, type ErrorBody } from "./error-body.ts";
export { CodedError, errorTable, isCoded, isErrorCode, type ErrorCode } from "./error-code.ts";
export { beamsOf, generation, isSampled, type Generation } from "./generation.ts";
export { limits } from "./limits.ts";
export { model, modelIdentity, modelKeyOf, modelList, type Model, type ModelIdentity, type ModelList } from "./model.ts";
export { plainWords } from "./plain-words.ts";
export {
  chatCompletion,
  comparePositions,
  failedLine,
  linePosition,
  lineSucceeded,
  neverRanLine,
  refusedResultLine,
  resultLine,
  succeededLine,
  type ChatCompletion,
  type ItemIdentity,
  type LinePosition,
  type ResultLine,
} from "./result-line.ts";
export { quotas, type Quotas } from "./quotas.ts";
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
  end,
  frontier,
  item,
  itemNumber,
  partChoice,
  plan,
  rebuilt,
  refusedLine,
  seal,
  summary,
  tally,
  type After,
  type BatchRequest,
  type Control,
  type End,
  type Frontier,
  type Item,
  type ModelReference,
  type PartChoice,
  type Plan,
  type Rebuilt,
  type RefusedLine,
  type Seal,
  type Summary,
  type Tally,
} from "./stored.ts";
