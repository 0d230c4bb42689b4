/** The door of the model package: import a Flamingo, prepare pixels and prompts for it, open it, generate. */
export type { Architecture } from "./architecture.ts";
export { precisionSchema, type ModelDescription, type Precision, type Preprocessing } from "./description.ts";
export { readModelFolder, type WriteOptions, type WriteProgress } from "./folder.ts";
export { checkModel, type CheckOptions, type ModelCheck } from "./check-model.ts";
export { downloadPieces, type DownloadProgress, type PieceName, type PiecesDownload } from "./hub/download-pieces.ts";
export { importModel, type ImportOptions } from "./import-model.ts";
export type { Pieces } from "./import/pieces.ts";
export { findPreset, presets, quirks, type HubPiece, type Preset, type Quirk } from "./import/presets.ts";
export type {
  GenerationOptions,
  Media,
  Model,
  ModelDevice,
  ModelStats,
  OpenOptions,
  Passage,
  Prefix,
  RankedCandidate,
  RankRequest,
  RankResult,
  RowRequest,
  RowResult,
  SamplingOptions,
  Sequence,
  TokenLogProbability,
} from "./model.ts";
export { openModel } from "./open-model.ts";
export { deviceChoiceSchema, type DeviceChoice } from "./device/choose-device.ts";
export { endDeviceClaim, newDeviceClaims, type DeviceClaims } from "./device/device-claim.ts";
export { chooseFrames } from "./pixels/choose-frames.ts";
export { decodeFrames, decodePixels, type DecodeOptions, type FrameOptions } from "./pixels/image.ts";
export {
  buildPrompt,
  promptTemplates,
  type Prompt,
  type PromptExample,
  type PromptPassage,
  type PromptQuery,
  type PromptTask,
} from "./prompt.ts";
