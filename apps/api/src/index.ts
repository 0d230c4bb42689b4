/** The door of the api: its application, for a process or a test to run. */
export { createApp, type AppDependencies } from "./app.ts";
