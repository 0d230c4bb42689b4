/**
 * A model repository on the Hugging Face Hub: what its files are, and their bytes from any place on. The only file that imports the Hub's client library, which knows the API's forms;
 * owns how its answers become codes. Refuses to keep anything (download.ts). Large files come through plain HTTP with ranges, not through the Xet protocol: a cut download resumes there.
 */
import { fileDownloadInfo, listFiles, type ListFileEntry } from "@huggingface/hub";
import { CodedError, isCoded } from "@flamboyance/contracts";

export interface HubSettings {
  /** As https://huggingface.co, or a mirror's. */
  readonly endpoint: string;
  /** Sent to the endpoint alone: a redirect to another host goes without it. */
  readonly token?: string;
}

export interface HubFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** sha256 of a large file's bytes; of a small one git's own name for it, which is a sha1 of a header and the bytes. */
  readonly hash: { readonly kind: "sha256" | "git"; readonly hex: string };
}

/** Some repository at some revision, by name, for the calls below. */
export interface HubPlace {
  readonly repository: string;
  readonly revision: string;
}

/**
 * Every file of the repository's top folder, by path. Throws hub_unauthorized, hub_forbidden, hub_not_found, hub_unavailable, hub_invalid_response, aborted.
 */
export async function listHubFiles(settings: HubSettings, place: HubPlace, signal: AbortSignal): Promise<Map<string, HubFile>> {
  const files = new Map<string, HubFile>();
  return asHubFailure(place, signal, async () => {
    const { repository, revision } = place;
    const fetch = codedFetch(place, signal);
    for await (const entry of listFiles({ repo: repository, revision, hubUrl: settings.endpoint, ...access(settings), fetch }))
      if (entry.type === "file") files.set(entry.path, hubFile(place, entry));
    return files;
  });
}

/**
 * The file's bytes from `begin`, or from 0 where the server doesn't know ranges: the answer says which. They may end early, and may fail with hub_unavailable while they come.
 */
export async function openHubFile(
  settings: HubSettings,
  place: HubPlace,
  file: HubFile,
  options: { readonly beginBytes: number; readonly signal: AbortSignal },
): Promise<{ readonly beginBytes: number; readonly bytes: AsyncIterable<Uint8Array> }> {
  const { beginBytes, signal } = options;
  const fetch = codedFetch(place, signal);
  const response = await asHubFailure(place, signal, async () => {
    const info = await fileDownloadInfo({
      repo: place.repository,
      path: file.path,
      revision: place.revision,
      hubUrl: settings.endpoint,
      ...access(settings),
      fetch,
    });
    if (info === null) throw new CodedError("hub_not_found", `${place.repository} holds no ${file.path} at ${place.revision}`);
    const headers = new Headers(beginBytes === 0 ? {} : { Range: `bytes=${beginBytes}-` });
    if (settings.token !== undefined) headers.set("Authorization", `Bearer ${settings.token}`);
    return fetch(info.url, { headers });
  });
  const { body } = response;
  if (body === null) throw new CodedError("hub_invalid_response", `${place.repository} answered ${file.path} without a body`);
  const begins = response.status === 206 ? Number(/^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1] ?? NaN) : 0;
  if (begins !== 0 && begins !== beginBytes) {
    await body.cancel();
    throw new CodedError("hub_invalid_response", `${place.repository} answered another part of ${file.path} than was asked for`);
  }
  return { beginBytes: begins, bytes: codedBytes(place, signal, body) };
}

function access({ token }: HubSettings): { accessToken?: string } {
  if (token === undefined) return {};
  // The library would throw something that looks like a fault of the network.
  if (!token.startsWith("hf_")) throw new CodedError("configuration_invalid", "a token of the Hub begins with hf_", { param: "HF_TOKEN" });
  return { accessToken: token };
}

function hubFile(place: HubPlace, { path, size, oid, lfs }: ListFileEntry): HubFile {
  const [kind, hex, sizeBytes] = lfs === undefined ? (["git", oid ?? "", size] as const) : (["sha256", lfs.oid, lfs.size] as const);
  const digits = kind === "git" ? 40 : 64;
  if (!new RegExp(`^[0-9a-f]{${digits}}$`).test(hex) || !Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
    throw new CodedError("hub_invalid_response", `${place.repository} lists ${path} without a size and hash that can be understood`);
  return { path, sizeBytes, hash: { kind, hex } };
}

/** fetch, with the signal, whose answers are good or thrown. */
function codedFetch(place: HubPlace, signal: AbortSignal): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, { ...init, signal });
    if (response.ok) return response;
    await response.body?.cancel();
    const said = response.headers.get("x-error-message")?.slice(0, 200);
    throw statusError(place, response.status, said === undefined ? "" : `: ${said}`);
  };
}

function statusError({ repository, revision }: HubPlace, status: number, said: string): CodedError {
  if (status === 401)
    // The Hub answers so for a repository that isn't there as well, to whom it doesn't know.
    return new CodedError("hub_unauthorized", `the Hub wants to know who asks for ${repository} (is there one? HF_TOKEN)${said}`);
  if (status === 403) return new CodedError("hub_forbidden", `the Hub doesn't give ${repository} to the owner of HF_TOKEN${said}`);
  if (status === 404) return new CodedError("hub_not_found", `the Hub has no ${repository} at ${revision}, or not that file${said}`);
  const passing = status === 408 || status === 416 || status === 429 || status >= 500;
  return new CodedError(passing ? "hub_unavailable" : "hub_invalid_response", `the Hub answered ${status} for ${repository}${said}`);
}

async function* codedBytes(place: HubPlace, signal: AbortSignal, body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw asCoded(place, signal, error);
  }
}

async function asHubFailure<T>(place: HubPlace, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asCoded(place, signal, error);
  }
}

function asCoded({ repository }: HubPlace, signal: AbortSignal, error: unknown): CodedError {
  if (isCoded(error)) return error;
  if (signal.aborted) return new CodedError("aborted", `the download of ${repository} was given up`, { cause: signal.reason });
  // fetch says so of every fault of the network; the library's own errors are of answers that it can't read.
  if (error instanceof TypeError) return new CodedError("hub_unavailable", `no answer from the Hub for ${repository}`, { cause: error });
  return new CodedError("hub_invalid_response", `the Hub's answer for ${repository} can't be understood`, { cause: error });
}
