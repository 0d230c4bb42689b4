/** Free TCP ports on loopback. Between the look and the use another process may take one: who needs certainty tries again. */
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";

/** A port that nobody listens on just now. */
export function freePort(): Promise<number> {
  return listenBriefly(0);
}

/** The wanted port where it is free, another one where it is taken or none is wanted. */
export async function portOrFree(wanted?: number): Promise<number> {
  if (wanted === undefined || wanted === 0) return freePort();
  return listenBriefly(wanted).catch(freePort);
}

async function listenBriefly(port: number): Promise<number> {
  const server = createServer();
  server.listen({ port, host: "127.0.0.1", exclusive: true });
  await once(server, "listening");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a listening TCP server has an AddressInfo
  const { port: taken } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return taken;
}
