/** What a route answers; server.ts sends it. */
import type { FileHandle } from "node:fs/promises";

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | FileSlice;
}

/** Bytes of an open file, which is closed when they have been sent, or can't be. */
export interface FileSlice {
  readonly file: FileHandle;
  readonly start: number;
  readonly end: number;
}

export function answerXml(xml: string, status = 200): Answer {
  return { status, headers: { "content-type": "application/xml" }, body: xml };
}
