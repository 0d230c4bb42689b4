/**
 * A stand-in of the Hub for tests, over real HTTP: the tree listing in pages, with git's and LFS's ids; small files from the host itself, large ones by a redirect to a second host,
 * with ranges; repositories that want a token. Faults are asked for one by one.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

export interface TestHub {
  readonly endpoint: string;
  /** What was asked for, in order. */
  readonly requests: {
    readonly host: "hub" | "store";
    readonly path: string;
    readonly range: string | null;
    readonly authorization: string | null;
  }[];
  /** Answers to the next requests of the store, before it behaves again. */
  readonly faults: Fault[];
  /** Places in a file where an answer stands still. */
  readonly stalls: ReadonlySet<number>;
  /** Ends the connections that stand still. */
  cut(): void;
  close(): Promise<void>;
}

export type Fault =
  | { readonly kind: "status"; readonly status: number }
  /** The answer stands still after so many bytes: what was sent so far surely comes, until `cut()`. */
  | { readonly kind: "stall"; readonly afterBytes: number }
  | { readonly kind: "no ranges" }
  /** The last byte is another. */
  | { readonly kind: "altered" };

export interface TestRepository {
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** Wants this token. */
  readonly token?: string;
  /** What it answers to everybody instead. */
  readonly status?: number;
}

/** Files of at least this size lie in the store. */
const largeBytes = 1_000;
const pageEntries = 3;

export async function startTestHub(repositories: Readonly<Record<string, TestRepository>>): Promise<TestHub> {
  const requests: TestHub["requests"] = [];
  const faults: Fault[] = [];
  const stalled = new Set<ServerResponse>();
  const stalls = new Set<number>();
  const store = await listen((request, response) => {
    record("store", request);
    const [, owner = "", name = "", path = ""] = (request.url ?? "").split("/");
    const bytes = repositories[`${owner}/${name}`]?.files[decodeURIComponent(path)];
    if (bytes === undefined) return end(response, 404);
    const fault = faults.shift();
    if (fault?.kind !== "stall") return serve(request, response, bytes, fault);
    const begin = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    stalls.add(begin + fault.afterBytes);
    stalled.add(response);
    return serve(request, response, bytes, fault);
  });
  const storeUrl = urlOf(store);
  const hub = await listen((request, response) => {
    record("hub", request);
    const url = new URL(request.url ?? "", "http://hub");
    const [, owner, name, kind, , path] = /^(?:\/api\/models)?\/([^/]+)\/([^/]+)\/(tree|resolve)\/([^/]+)\/?(.*)$/.exec(url.pathname) ?? [];
    const repository = repositories[`${owner}/${name}`];
    if (repository === undefined) return end(response, 401, { "x-error-code": "RepoNotFound" });
    if (repository.status !== undefined) return end(response, repository.status);
    if (repository.token !== undefined && request.headers.authorization !== `Bearer ${repository.token}`)
      return end(response, 401, { "x-error-code": "GatedRepo", "x-error-message": "Access to this model is restricted." });
    if (kind === "tree") return list(response, url, repository);
    const bytes = repository.files[path ?? ""];
    if (bytes === undefined) return end(response, 404, { "x-error-code": "EntryNotFound" });
    if (bytes.length < largeBytes) return serve(request, response, bytes, undefined);
    const headers = { "x-linked-size": bytes.length, "x-linked-etag": `"${sha256(bytes)}"` };
    if (request.headers.accept?.includes("application/vnd.xet-fileinfo+json") === true)
      return end(response, 200, {
        ...headers,
        "content-type": "application/vnd.xet-fileinfo+json",
        "x-xet-hash": sha256(bytes),
        link: `<${storeUrl}/auth>; rel="xet-auth", <${storeUrl}/reconstruction>; rel="xet-reconstruction-info"`,
      });
    return end(response, 302, { ...headers, location: `${storeUrl}/${owner}/${name}/${encodeURIComponent(path ?? "")}` });
  });

  const record = (host: "hub" | "store", { url, headers }: IncomingMessage): void => {
    requests.push({ host, path: url ?? "", range: headers.range ?? null, authorization: headers.authorization ?? null });
  };
  const list = (response: ServerResponse, url: URL, { files }: TestRepository): void => {
    const entries = Object.entries(files);
    const begin = Number(url.searchParams.get("cursor") ?? 0);
    const next = new URL(url.pathname + url.search, urlOf(hub));
    next.searchParams.set("cursor", String(begin + pageEntries));
    const page = entries.slice(begin, begin + pageEntries).map(([path, bytes]) => ({
      type: "file",
      path,
      size: bytes.length,
      oid: createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex"),
      ...(bytes.length < largeBytes ? {} : { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 }, xetHash: sha256(bytes) }),
    }));
    response.setHeader("content-type", "application/json");
    if (begin + pageEntries < entries.length) response.setHeader("link", `<${next.href}>; rel="next"`);
    response.end(JSON.stringify(page));
  };

  return {
    endpoint: urlOf(hub),
    requests,
    faults,
    stalls,
    cut: () => {
      for (const response of stalled) response.destroy();
      stalled.clear();
    },
    close: async () => {
      for (const server of [hub, store]) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
}

function serve(request: IncomingMessage, response: ServerResponse, whole: Uint8Array, fault: Fault | undefined): void {
  if (fault?.kind === "status") return end(response, fault.status);
  const bytes = fault?.kind === "altered" ? Buffer.concat([whole.subarray(0, -1), Buffer.from([(whole.at(-1) ?? 0) ^ 1])]) : whole;
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  let part = bytes;
  if (from !== undefined && fault?.kind !== "no ranges") {
    const last = to === "" || to === undefined ? bytes.length - 1 : Number(to);
    part = bytes.subarray(Number(from), last + 1);
    response.writeHead(206, {
      "content-range": `bytes ${from}-${last}/${bytes.length}`,
      "content-length": part.length,
      etag: `"${sha256(whole)}"`,
    });
  } else response.writeHead(200, { "content-length": part.length, etag: `"${sha256(whole)}"` });
  if (fault?.kind === "stall") response.write(part.subarray(0, fault.afterBytes));
  else response.end(part);
}

function end(response: ServerResponse, status: number, headers: Record<string, string | number> = {}): void {
  response.writeHead(status, headers).end();
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function listen(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

function urlOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the stand-in isn't listening");
  return `http://127.0.0.1:${address.port}`;
}
