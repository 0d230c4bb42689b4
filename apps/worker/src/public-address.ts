/**
 * Which addresses of the network are anybody's: what a caller's text may lead a worker to. Everything else (this machine, its neighbours, a cloud's own services, forms in
 * which an IPv4 address hides in an IPv6 one) is refused. The only file that imports ipaddr.js, which holds IANA's registries of special addresses.
 */
import ipaddr from "ipaddr.js";

/** A plain, global unicast address. False for whatever can't be read as an address. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address) || wireServer.has(address)) return false;
  const read = ipaddr.process(address);
  if (read.range() !== "unicast") return false;
  // Of IPv6, what is handed out at all: anything else would be a form that the registries don't know yet.
  return read.kind() === "ipv4" || read.match(handedOut);
}

/** This machine's own address. */
export function isLoopback(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.process(address).range() === "loopback";
}

const handedOut = ipaddr.parseCIDR("2000::/3");

/** Azure's virtual machines find their host's services at an address that isn't special anywhere else. */
const wireServer: ReadonlySet<string> = new Set(["168.63.129.16"]);
