/** The environment's variables that say where S3 is and with which credentials, for every process that opens a storage. */
import { flag } from "@flamboyance/contracts";
import { z } from "zod";
import type { StorageOptions } from "./storage.ts";

export const s3Variables = z.object({
  FLAMBOYANCE_S3_ENDPOINT: z.url().optional().describe("S3's address; unset: AWS's own for the region."),
  FLAMBOYANCE_S3_REGION: z.string().min(1).default("us-east-1").describe("S3's region."),
  FLAMBOYANCE_S3_PATH_STYLE: flag
    .optional()
    .describe("true: bucket in the path; false: in the host name. Unset: true where an endpoint is set."),
  AWS_ACCESS_KEY_ID: z.string().min(1).describe("S3's access key."),
  AWS_SECRET_ACCESS_KEY: z.string().min(1).describe("S3's secret key."),
  AWS_SESSION_TOKEN: z.string().min(1).optional().describe("S3's session token, with temporary credentials."),
  FLAMBOYANCE_BUCKET_CREDENTIALS: z
    .string()
    .min(1)
    .optional()
    .describe("Folder of the keys to tenants' own buckets: files `<secret>.json`, read again each 10 s. Unset: there are none."),
});

/** As `openStorage` takes it. */
export function s3Of(
  variables: z.infer<typeof s3Variables>,
): Pick<StorageOptions, "endpoint" | "region" | "pathStyle" | "accessKeyId" | "secretAccessKey" | "sessionToken"> {
  const { FLAMBOYANCE_S3_ENDPOINT: endpoint, AWS_SESSION_TOKEN: sessionToken } = variables;
  return {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(sessionToken === undefined ? {} : { sessionToken }),
    region: variables.FLAMBOYANCE_S3_REGION,
    pathStyle: variables.FLAMBOYANCE_S3_PATH_STYLE ?? endpoint !== undefined,
    accessKeyId: variables.AWS_ACCESS_KEY_ID,
    secretAccessKey: variables.AWS_SECRET_ACCESS_KEY,
  };
}
