/** The door of the model package: import a Flamingo, prepare pixels and prompts for it, open it, generate. */
export type { Architecture } from "./architecture.ts";
export type { ModelDescription, Preprocessing } from "./description.ts";
export type { GenerationOptions, Media, Model, ModelStats, OpenOptions, Passage, Prefix, RowRequest, RowResult } from "./model.ts";
