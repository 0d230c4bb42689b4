/** The door of contracts: what callers, api and workers agree on. */
export { CodedError, errorTable, isCoded, type ErrorCode } from "./error-code.ts";
