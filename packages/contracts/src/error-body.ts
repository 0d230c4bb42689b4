/** The body of every failed answer: OpenAI's, all four fields always. */
import { z } from "zod";
import type { CodedError } from "./error-code.ts";

export const errorBody = z.object({
  error: z.object({ message: z.string(), type: z.string(), param: z.string().nullable(), code: z.string().nullable() }),
});
export type ErrorBody = z.infer<typeof errorBody>;

export function toErrorBody(error: CodedError): ErrorBody {
  return { error: { message: error.message, type: error.type, param: error.param, code: error.code } };
}
