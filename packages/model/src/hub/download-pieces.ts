/**
 * A preset's pieces from the Hub into a cache folder. Owns where they lie there: `<cache>/<owner>--<name>/<content>/<file>`, where <content> is made of the wanted files' hashes,
 * so that what has changed on the Hub never meets what was fetched before. Refuses files that the preset doesn't name.
 */
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import type { HubPiece, Preset } from "../import/presets.ts";
import { downloadHubFile } from "./download.ts";
import { listHubFiles, type HubFile, type HubSettings } from "./repository.ts";
import { patiently, type Patience } from "./retry.ts";

export type PieceName = keyof Preset["pieces"];

export interface DownloadProgress {
  /** Owner, name and file. */
  readonly file: string;
  /** Over all files, those that lay in the cache included. */
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface PiecesDownload extends HubSettings, Patience {
  readonly cacheFolder: string;
  /** Which of the preset's pieces. */
  readonly wanted: readonly PieceName[];
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/**
 * Answers each wanted piece's place on this disk as an import takes it: the weights' file, or the language model's folder. What is there already isn't fetched again; a cut
 * download is gone on with. Throws hub_unauthorized, hub_forbidden, hub_not_found, hub_unavailable, hub_invalid_response, hub_file_corrupt, aborted.
 */
export async function downloadPieces(preset: Preset, options: PiecesDownload): Promise<Partial<Record<PieceName, string>>> {
  const { wanted, onProgress } = options;
  const settings: HubSettings = { endpoint: options.endpoint, ...(options.token === undefined ? {} : { token: options.token }) };
  const plans = [];
  // All lists first: what is missing, or forbidden, is known before the first gigabyte.
  for (const name of wanted) plans.push({ name, ...(await planPiece(settings, preset, name, options)) });
  const totalBytes = plans.flatMap(({ files }) => files).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

  let earlierBytes = 0;
  for (const { piece, folder, files } of plans) {
    await mkdir(folder, { recursive: true });
    for (const file of files) {
      await downloadHubFile(settings, piece, file, join(folder, file.path), {
        signal: options.signal,
        wait: options.wait,
        onBytes: (bytes) => onProgress?.({ file: `${piece.repository}/${file.path}`, doneBytes: earlierBytes + bytes, totalBytes }),
      });
      earlierBytes += file.sizeBytes;
    }
  }
  return Object.fromEntries(
    plans.map(({ name, piece, folder }) => [name, name === "languageModel" ? folder : join(folder, piece.files[0])]),
  );
}

interface PiecePlan {
  readonly piece: HubPiece;
  readonly folder: string;
  readonly files: readonly HubFile[];
}

async function planPiece(settings: HubSettings, preset: Preset, name: PieceName, options: PiecesDownload): Promise<PiecePlan> {
  const piece = preset.pieces[name];
  const listed = await patiently(options, () => listHubFiles(settings, piece, options.signal));
  const files = [...piece.files, ...piece.optionalFiles].flatMap((path): HubFile[] => {
    const file = listed.get(path);
    if (file === undefined && piece.files.includes(path))
      throw new CodedError("hub_not_found", `${piece.repository} holds no ${path} at ${piece.revision}, which ${preset.name} needs`, {
        param: path,
      });
    return file === undefined ? [] : [file];
  });
  const content = createHash("sha256")
    .update(JSON.stringify(files.map(({ path, hash }) => [path, hash.hex])))
    .digest("hex")
    .slice(0, 16);
  return { piece, folder: join(options.cacheFolder, piece.repository.replace("/", "--"), content), files };
}
