/** The door of the api: its application, for a process or a test to run, and its keys. */
export { createApp, type AppDependencies } from "./app.ts";
export { newKey, type TenantKey } from "./tenant-keys.ts";
