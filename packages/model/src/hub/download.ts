/**
 * One file of the Hub onto this disk: into `<file>.part` first, then whole under its name. What was fetched stays through a cut or Ctrl-C and is gone on with; size and hash are checked
 * before the rename, and a part that fails them is deleted. Owns that law; refuses to know what a file is for.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, rename, rm, stat } from "node:fs/promises";
import { CodedError } from "@flamboyance/contracts";
import { patiently, type Patience } from "./retry.ts";
import { openHubFile, type HubFile, type HubPlace, type HubSettings } from "./repository.ts";

export interface DownloadOptions extends Patience {
  /** Bytes of this file so far, those of an earlier part included. */
  readonly onBytes?: ((doneBytes: number) => void) | undefined;
}

/** Answers once the file stands at `path`, whole; one that does already, in its size, is taken as it is: it was checked when it was put there. */
export async function downloadHubFile(
  settings: HubSettings,
  place: HubPlace,
  file: HubFile,
  path: string,
  options: DownloadOptions,
): Promise<void> {
  if ((await sizeOf(path)) === file.sizeBytes) return options.onBytes?.(file.sizeBytes);
  const part = `${path}.part`;
  await patiently(
    options,
    () => fetchRest(settings, place, file, part, options),
    async () => (await sizeOf(part)) ?? 0,
  );
  await check(file, part, options.signal);
  await rename(part, path);
}

/** Appends what the part lacks; a server that begins anew makes the part begin anew. */
async function fetchRest(
  settings: HubSettings,
  place: HubPlace,
  file: HubFile,
  part: string,
  { signal, onBytes }: DownloadOptions,
): Promise<void> {
  const target = await open(part, "a");
  try {
    let doneBytes = (await target.stat()).size;
    if (doneBytes > file.sizeBytes) {
      await target.truncate(0);
      doneBytes = 0;
    }
    onBytes?.(doneBytes);
    if (doneBytes === file.sizeBytes) return;
    const { beginBytes, bytes } = await openHubFile(settings, place, file, { beginBytes: doneBytes, signal });
    if (beginBytes < doneBytes) {
      await target.truncate(0);
      doneBytes = 0;
    }
    for await (const chunk of bytes) {
      doneBytes += chunk.length;
      if (doneBytes > file.sizeBytes) break;
      await target.appendFile(chunk);
      onBytes?.(doneBytes);
    }
    if (doneBytes < file.sizeBytes)
      throw new CodedError("hub_unavailable", `${file.path} of ${place.repository} ended after ${doneBytes} of ${file.sizeBytes} bytes`);
    // More than was announced can't be right; nor can its beginning be trusted.
    if (doneBytes > file.sizeBytes) await target.truncate(0);
  } finally {
    await target.close();
  }
}

async function check(file: HubFile, part: string, signal: AbortSignal): Promise<void> {
  const hash = createHash(file.hash.kind === "git" ? "sha1" : "sha256");
  // Git names a file by its kind, its length, and its bytes.
  if (file.hash.kind === "git") hash.update(`blob ${file.sizeBytes}\0`);
  for await (const chunk of createReadStream(part, { highWaterMark: 2 ** 20 })) {
    if (signal.aborted) throw new CodedError("aborted", `checking ${file.path} was given up`, { cause: signal.reason });
    hash.update(chunk);
  }
  const found = hash.digest("hex");
  if ((await sizeOf(part)) === file.sizeBytes && found === file.hash.hex) return;
  await rm(part, { force: true });
  throw new CodedError("hub_file_corrupt", `${file.path} came with the hash ${found} where the Hub says ${file.hash.hex}; it was deleted`, {
    param: file.path,
  });
}

async function sizeOf(path: string): Promise<number | null> {
  return stat(path).then(
    ({ size }) => size,
    () => null,
  );
}
