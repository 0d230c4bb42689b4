/** The door of the client. */
export type { Keys, Tenants } from "./admin.ts";
export type { Batches, ResultsOptions, WaitOptions } from "./batches.ts";
export { createClient, type Client, type ClientOptions } from "./client.ts";
export { FlamboyanceError } from "./failure.ts";
export type { Models } from "./models.ts";
export type { Quotas } from "./quotas.ts";
