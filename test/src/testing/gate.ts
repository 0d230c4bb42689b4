/** Decides when which row of the no-op engine is done: each asks here first (FLAMBOYANCE_ENGINE_GATE) and waits for its answer. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface EngineGate {
  readonly url: string;
  /** Rows that wait now. */
  waiting(): readonly string[];
  /** Every row that ever asked, as often as it did. */
  asked(): readonly string[];
  /** From now on rows wait, all but the next `passing`. */
  hold(passing?: number): void;
  /** Lets everything through from now on. */
  open(): void;
  close(): Promise<void>;
}

export async function startGate(): Promise<EngineGate> {
  const waiting = new Map<ServerResponse, string>();
  const asked: string[] = [];
  let passing = Infinity;
  const server = createServer((request, response) => {
    const row = new URL(request.url ?? "/", "http://gate").searchParams.get("row") ?? "";
    asked.push(row);
    if (passing > 0) {
      passing -= 1;
      response.end();
      return;
    }
    waiting.set(response, row);
    response.on("close", () => waiting.delete(response));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    waiting: () => [...waiting.values()],
    asked: () => asked,
    hold: (count = 0) => void (passing = count),
    open: () => {
      passing = Infinity;
      for (const response of waiting.keys()) response.end();
      waiting.clear();
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
