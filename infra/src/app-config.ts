/** The apps' own reading of their environment, so that what compose and Kubernetes set is held against what the apps really take. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { root } from "./root.ts";

export type AppName = "api" | "worker";

export interface AppConfig {
  /** Throws where the app would refuse to start. */
  readonly readConfig: (variables: Readonly<Record<string, string | undefined>>) => Readonly<Record<string, unknown>>;
  readonly configurationTable: () => readonly { readonly name: string; readonly fallback: string }[];
}

export async function loadAppConfig(app: AppName): Promise<AppConfig> {
  return appConfig.parse(await import(pathToFileURL(join(root, "apps", app, "src/config.ts")).href));
}

const isFunction = (value: unknown) => typeof value === "function";
const appConfig = z.object({
  readConfig: z.custom<AppConfig["readConfig"]>(isFunction),
  configurationTable: z.custom<AppConfig["configurationTable"]>(isFunction),
});
