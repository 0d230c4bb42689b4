/** The models that the service knows. */
import { modelList, type Model } from "@flamboyance/contracts";
import { request, type Connection } from "./request.ts";

export interface Models {
  list(options?: { readonly signal?: AbortSignal | undefined }): Promise<Model[]>;
}

export function modelsOf(connection: Connection): Models {
  return {
    list: async ({ signal } = {}) => (await request(connection, { method: "GET", path: "/v1/models", answer: modelList, signal })).data,
  };
}
