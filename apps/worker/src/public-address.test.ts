import { describe, expect, it } from "vitest";
import { isLoopback, isPublicAddress } from "./public-address.ts";

it.each([
  "8.8.8.8",
  "93.184.215.14",
  "172.15.255.255",
  "172.32.0.1",
  "100.63.255.255",
  "100.128.0.1",
  "2606:4700::6810:84e5",
  "2a00:1450:4001::1",
])("%s is anybody's", (address) => expect(isPublicAddress(address)).toBe(true));

describe.each([
  ["this machine", "127.0.0.1 127.8.9.10 0.0.0.0 0.1.2.3 :: ::1"],
  ["private networks and carriers'", "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 fc00::1 fec0::1"],
  ["link-local, with most clouds' metadata", "169.254.169.254 fe80::1 fe80::1%eth0"],
  ["other clouds' metadata", "100.100.100.200 192.0.0.192 168.63.129.16 fd00:ec2::254"],
  ["for tests and documents", "192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.1 2001:db8::1 3fff::1"],
  ["everybody's or nobody's", "224.0.0.1 240.0.0.1 255.255.255.255 192.88.99.1 ff02::1 100::1 4000::1"],
  ["IPv4 that is mapped into IPv6", "::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:a9fe:a9fe ::ffff:10.0.0.1 ::127.0.0.1 ::7f00:1"],
  ["IPv4 behind NAT64, 6to4, Teredo", "64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2002:a9fe:a9fe::1 2001:0:53aa:64c:0:fbff:8000:1"],
  ["no address at all", "localhost 1.2.3.4.5 ::g 999.1.1.1"],
])("%s", (_what, addresses) => {
  it.each(addresses.split(" "))("%s isn't anybody's", (address) => expect(isPublicAddress(address)).toBe(false));
});

it("a short or odd form of a private address is that address", () => {
  for (const address of ["", " ", "127.1", "2130706433", "0x7f.0.0.1", "017700000001", "10.1"])
    expect(isPublicAddress(address), address).toBe(false);
});

it("knows this machine's own address in every form", () => {
  for (const address of ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]) expect(isLoopback(address)).toBe(true);
  for (const address of ["10.0.0.1", "8.8.8.8", "localhost"]) expect(isLoopback(address)).toBe(false);
});
