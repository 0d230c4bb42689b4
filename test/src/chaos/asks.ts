/** The server that processes ask before each step and each row (FLAMBOYANCE_FAILPOINTS, FLAMBOYANCE_ENGINE_GATE). Owns its answers' moment: when what hears of an ask is done. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { stepOf, type Step } from "./steps.ts";

/** A process that is about to take a step. */
export interface Asked {
  readonly step: Step;
  readonly pid: number;
}

export interface Hearer {
  /** Resolves when the step may be taken; never for a process that is dead by then. */
  step(asked: Asked): Promise<void>;
  /** A row of a batch came to the engine. */
  row(row: string): Promise<void>;
  /** An image is about to be decoded. */
  image(sha256: string, pid: number): Promise<void>;
}

export interface Asks {
  readonly stepUrl: string;
  readonly rowUrl: string;
  /** Who hears of what is asked from now on; without one everything goes on at once. */
  hear(hearer: Hearer | null): void;
  close(): Promise<void>;
}

export async function openAsks(): Promise<Asks> {
  let heard: Hearer | null = null;
  const hearing = async (url: URL): Promise<void> => {
    const given = (name: string): string => url.searchParams.get(name) ?? "";
    if (url.pathname === "/row") return heard?.row(given("row"));
    const pid = Number(given("pid"));
    if (given("point") === "decode") return heard?.image(given("about"), pid);
    const step = stepOf({ point: given("point"), about: given("about") });
    return step === null ? undefined : heard?.step({ step, pid });
  };
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    void hearing(new URL(request.url ?? "/", "http://asks")).finally(() => response.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a listening TCP server has an AddressInfo
  const { port } = server.address() as AddressInfo;
  return {
    stepUrl: `http://127.0.0.1:${port}/step`,
    rowUrl: `http://127.0.0.1:${port}/row`,
    hear: (hearer) => void (heard = hearer),
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
