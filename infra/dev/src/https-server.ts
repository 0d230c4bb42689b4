/**
 * A web server with a certificate of its own, for tests of what is read from the web. Owns the certificate: made here for some names and addresses, good for a day,
 * signed by itself. Refuses production.
 */
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { once } from "node:events";
import type { RequestListener } from "node:http";
import { createServer } from "node:https";
import { isIPv4, type AddressInfo } from "node:net";

export interface HttpsServer {
  readonly port: number;
  /** What a client must believe, in PEM. */
  readonly certificate: string;
  /** Cuts all connections. */
  close(): Promise<void>;
}

/** Listens on 127.0.0.1. `names`: DNS names and IPv4 addresses that the certificate is for. */
export async function startHttpsServer(names: readonly string[], answer: RequestListener): Promise<HttpsServer> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const body = certificateBody(names, publicKey.export({ type: "spki", format: "der" }));
  const signature = sign("sha256", body, { key: privateKey, dsaEncoding: "der" });
  const der = sequence(body, signatureAlgorithm, tagged(0x03, Buffer.from([0]), signature));
  const certificate = `-----BEGIN CERTIFICATE-----\n${der.toString("base64").replaceAll(/(.{64})/g, "$1\n")}\n-----END CERTIFICATE-----\n`;
  const server = createServer({ key: privateKey.export({ type: "pkcs8", format: "pem" }), cert: certificate }, answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a listening TCP server has an AddressInfo
  const { port } = server.address() as AddressInfo;
  return {
    port,
    certificate,
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** X.509's to-be-signed part, version 3. */
function certificateBody(names: readonly string[], publicKey: Buffer): Buffer {
  const name = sequence(tagged(0x31, sequence(objectId(0x55, 0x04, 0x03), tagged(0x0c, Buffer.from("flamboyance test")))));
  const day = 86_400_000;
  const alternatives = sequence(
    ...names.map((each) => (isIPv4(each) ? tagged(0x87, Buffer.from(each.split(".").map(Number))) : tagged(0x82, Buffer.from(each)))),
  );
  const extensions = sequence(
    sequence(objectId(0x55, 0x1d, 0x13), tagged(0x01, Buffer.from([0xff])), tagged(0x04, sequence(tagged(0x01, Buffer.from([0xff]))))),
    sequence(objectId(0x55, 0x1d, 0x11), tagged(0x04, alternatives)),
  );
  return sequence(
    tagged(0xa0, tagged(0x02, Buffer.from([2]))),
    // Positive, whatever the random bytes are.
    tagged(0x02, Buffer.from([1]), randomBytes(8)),
    signatureAlgorithm,
    name,
    sequence(utcTime(Date.now() - day), utcTime(Date.now() + day)),
    name,
    publicKey,
    tagged(0xa3, extensions),
  );
}

/** One value of ASN.1, in DER. */
function tagged(tag: number, ...content: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(content);
  const { length } = bytes;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), bytes]);
}

const sequence = (...content: readonly Buffer[]): Buffer => tagged(0x30, ...content);
const objectId = (...bytes: readonly number[]): Buffer => tagged(0x06, Buffer.from(bytes));
const utcTime = (ms: number): Buffer => tagged(0x17, Buffer.from(`${new Date(ms).toISOString().replaceAll(/\D/g, "").slice(2, 14)}Z`));
/** ecdsa-with-SHA256. */
const signatureAlgorithm = sequence(objectId(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));
