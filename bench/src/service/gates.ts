/** What an engine that just waits waits for (FLAMBOYANCE_ENGINE_GATE). Owns the waiting; whose rows they are, nobody here knows. */
import { createServer } from "node:http";

/** Every path is a gate: one row at a time passes, after `waitMs`. */
export async function openGates(waitMs: number): Promise<{ readonly url: string; close(): void }> {
  const turns = new Map<string, Promise<void>>();
  const server = createServer((asked, answer) => {
    const path = asked.url?.split("?")[0] ?? "";
    const turn = (turns.get(path) ?? Promise.resolve()).then(() => new Promise<void>((pass) => setTimeout(pass, waitMs)));
    turns.set(path, turn);
    void turn.then(() => answer.end());
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the gates have no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
