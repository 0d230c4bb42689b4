/**
 * Images of the web: https alone, from public addresses alone. A caller's text leads a worker's request somewhere, so it is looked at where it leads to: the name is
 * resolved once, every address that it has must be anybody's, and exactly these are connected to, under the name's certificate. Each redirect is looked at as the first
 * address was. Owns what a web server's answer means for an item, and the bounds of bytes, time, redirects and tries. Refuses other ports, credentials in addresses and
 * packed answers; never says more of an address than its host and path, since what follows may be a signature.
 */
import { promises as dns, type LookupAddress } from "node:dns";
import type { IncomingMessage } from "node:http";
import { Agent, request as sendRequest } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { CodedError, isCoded } from "@flamboyance/contracts";
import { isLoopback, isPublicAddress } from "./public-address.ts";

export interface WebFetch {
  /** Whether the batch's tenant may read from this host; asked for each redirect too. */
  readonly mayRead: (host: string) => boolean;
  readonly maxBytes: number;
}

export interface WebImages {
  /**
   * The image's bytes. Throws image_forbidden (address, port, host, redirect; 401, 403), image_not_found (no such name; 404, 410), image_too_large, image_unavailable
   * (no answer, too slow, 5xx: after three tries), and the signal's reason.
   */
  fetch(url: string, options: WebFetch, signal: AbortSignal): Promise<Uint8Array>;
  close(): void;
}

export interface WebImagesOptions {
  /** For tests alone: this machine's own addresses are taken too, at any port. */
  readonly loopback: boolean;
  /** All addresses of a name. Default: DNS's own, without this machine's files and search domains. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  /** Further certificates that are believed. */
  readonly ca?: string;
  /** For one try, redirects and bytes and all: 30 s. */
  readonly tryMs?: number;
  /** Without a byte: 10 s. */
  readonly silenceMs?: number;
  /** The first pause between two tries: 500 ms. */
  readonly pauseMs?: number;
}

const tries = 3;
const redirects = 5;

export function openWebImages(options: WebImagesOptions): WebImages {
  const { tryMs = 30_000, silenceMs = 10_000, pauseMs = 500, ca } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: 16, maxFreeSockets: 16, timeout: silenceMs, ...(ca === undefined ? {} : { ca }) });
  const guard = openGuard(options);

  /** One answer to one address, redirects not followed. */
  const get = async (url: URL, addresses: readonly LookupAddress[], signal: AbortSignal): Promise<IncomingMessage> => {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const host = hostOf(url);
    const sent = sendRequest({
      agent,
      host,
      port: url.port === "" ? 443 : Number(url.port),
      path: `${url.pathname}${url.search}`,
      // An address has no name to indicate; its certificate is held against the address.
      servername: isIP(host) === 0 ? host : "",
      headers: { host: url.host, accept: "image/*, */*;q=0.1", "accept-encoding": "identity", "user-agent": "flamboyance" },
      lookup: lookupOf(addresses),
      timeout: silenceMs,
      signal,
    });
    sent.on("response", resolve);
    sent.on("timeout", () => sent.destroy(new Error("silence")));
    sent.on("error", reject);
    sent.end();
    return promise;
  };

  const once = async (first: string, { mayRead, maxBytes }: WebFetch, signal: AbortSignal): Promise<Uint8Array> => {
    let url = new URL(first);
    for (let hop = 0; hop <= redirects; hop++) {
      if (!mayRead(hostOf(url))) throw new CodedError("image_forbidden", `${shown(url)}: this host may not be used`);
      const answer = await get(url, await guard(url), signal);
      try {
        const { statusCode: status = 0 } = answer;
        const target = answer.headers.location;
        if (isRedirect(status) && target !== undefined) {
          if (!URL.canParse(target, url.href)) throw new CodedError("image_unavailable", `${shown(url)}: redirects to no address`);
          url = new URL(target, url);
          continue;
        }
        if (status === 200) return await readBody(answer, url, maxBytes);
        throw failureOf(url, status);
      } finally {
        // One that was read to its end is left to the next request.
        if (!answer.complete) answer.destroy();
      }
    }
    throw new CodedError("image_forbidden", `${shown(new URL(first))}: redirects more than ${redirects} times`);
  };

  return {
    fetch: async (url, fetching, signal) => {
      if (!URL.canParse(url)) throw new CodedError("image_not_found", "this isn't an address");
      for (let time = 1; ; time++) {
        const patience = AbortSignal.timeout(tryMs);
        try {
          signal.throwIfAborted();
          return await once(url, fetching, AbortSignal.any([signal, patience]));
        } catch (error) {
          if (signal.aborted) throw signal.reason;
          const failure = isCoded(error)
            ? error
            : new CodedError(
                "image_unavailable",
                `${shown(new URL(url))}: no whole answer (${patience.aborted ? "too slow" : reasonOf(error)})`,
                { cause: error },
              );
          if (failure.code !== "image_unavailable" || time === tries) throw failure;
        }
        await sleep(pauseMs * time * (1 + Math.random()), undefined, { signal }).catch(() => {
          throw signal.reason;
        });
      }
    },
    close: () => agent.destroy(),
  };
}

/** The addresses that may be connected to for this one; throws where there is one that may not. */
function openGuard({ loopback, resolve = resolveByDns }: WebImagesOptions): (url: URL) => Promise<LookupAddress[]> {
  return async (url) => {
    const refuse = (what: string) => new CodedError("image_forbidden", `${shown(url)}: ${what}`);
    if (url.protocol !== "https:") throw refuse("only https is taken");
    if (url.username !== "" || url.password !== "") throw refuse("an address with credentials in it isn't taken");
    const host = hostOf(url);
    const found = isIP(host) === 0 ? await resolve(host) : [host];
    if (found.length === 0) throw new CodedError("image_not_found", `${shown(url)}: there is no such host`);
    const isOwn = loopback && found.every(isLoopback);
    // One that isn't public among others that are is no accident.
    if (!isOwn && !found.every(isPublicAddress)) throw refuse("this isn't a public address");
    if (!isOwn && url.port !== "") throw refuse("no port but 443 is taken");
    return found.map((address) => ({ address, family: isIP(address) }));
  };
}

/** The name was resolved before: whatever DNS would say now isn't asked. */
function lookupOf(addresses: readonly LookupAddress[]): LookupFunction {
  return (_host, { all }, callback) => {
    const [first] = addresses;
    if (all === true) callback(null, [...addresses]);
    else if (first !== undefined) callback(null, first.address, first.family);
  };
}

/**
 * A and AAAA of the name. By DNS's own protocol: not on the threads that files and images share, which a slow name server of anybody's could hold up; and without
 * /etc/hosts and search domains, by which short names of neighbours would resolve.
 */
async function resolveByDns(host: string): Promise<readonly string[]> {
  const resolver = new dns.Resolver({ timeout: 2_000, tries: 2 });
  const none = (error: unknown): string[] => {
    if (error instanceof Error && "code" in error && (error.code === "ENOTFOUND" || error.code === "ENODATA")) return [];
    throw error;
  };
  const [four, six] = await Promise.all([resolver.resolve4(host).catch(none), resolver.resolve6(host).catch(none)]);
  return [...four, ...six];
}

async function readBody(answer: IncomingMessage, url: URL, maxBytes: number): Promise<Uint8Array> {
  const { "content-encoding": packing = "identity", "content-length": stated = "0" } = answer.headers;
  if (packing.toLowerCase() !== "identity")
    throw new CodedError("image_unsupported", `${shown(url)}: the answer comes packed, which wasn't asked for`);
  const refuse = () => new CodedError("image_too_large", `${shown(url)} has more than ${maxBytes} bytes`);
  if (Number(stated) > maxBytes) throw refuse();
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of answer as AsyncIterable<Uint8Array>) {
    sizeBytes += piece.length;
    if (sizeBytes > maxBytes) throw refuse();
    pieces.push(piece);
  }
  return Buffer.concat(pieces, sizeBytes);
}

function failureOf(url: URL, status: number): CodedError {
  const what = `${shown(url)}: HTTP ${status}`;
  if (status === 404 || status === 410) return new CodedError("image_not_found", what);
  if (status === 401 || status === 403 || status === 451) return new CodedError("image_forbidden", what);
  return new CodedError("image_unavailable", what);
}

/** An image as error lines and logs may name it: what follows a path of the web may be a signature. */
export function shownImage(image: string): string {
  return image.startsWith("https:") && URL.canParse(image) ? shown(new URL(image)) : image;
}

const isRedirect = (status: number): boolean => [301, 302, 303, 307, 308].includes(status);

/** Without the brackets of an IPv6 address. */
const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[(.*)\]$/, "$1");

const shown = ({ protocol, host, pathname }: URL): string => `${protocol}//${host}${pathname}`;

/** The system's name of what happened; its message would repeat names and addresses. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  return "code" in error && typeof error.code === "string" ? error.code : error.message;
}
