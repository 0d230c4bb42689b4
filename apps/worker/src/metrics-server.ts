/** The worker's only door to the outside: /metrics, /health (the loop turns) and /ready (it takes work). */
import { createServer } from "node:http";
import { once } from "node:events";
import { CodedError } from "@flamboyance/contracts";
import type { Registry } from "prom-client";

export interface MetricsServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Throws configuration_invalid where it can't listen there, as on a port that is taken. */
export async function startMetricsServer(options: {
  readonly host: string;
  readonly port: number;
  readonly registry: Registry;
  /** Called before each scrape; it must not fail. */
  readonly collect: () => Promise<void>;
  /** Null when the worker takes work; else what it waits for. */
  readonly notReady: () => Promise<string | null>;
}): Promise<MetricsServer> {
  const { registry, collect, notReady } = options;
  const answers: Record<string, () => Promise<{ status: number; type: string; body: string }>> = {
    "/metrics": async () => {
      await collect();
      return { status: 200, type: registry.contentType, body: await registry.metrics() };
    },
    "/health": () => Promise.resolve({ status: 200, type: "application/json", body: JSON.stringify({ status: "ok" }) }),
    "/ready": async () => {
      const reason = await notReady();
      const body = JSON.stringify(reason === null ? { status: "ready" } : { status: "not ready", reason });
      return { status: reason === null ? 200 : 503, type: "application/json", body };
    },
  };
  const server = createServer((request, response) => {
    const answer = request.method === "GET" ? answers[new URL(request.url ?? "/", "http://worker").pathname] : undefined;
    if (answer === undefined) {
      response.writeHead(404).end();
      return;
    }
    answer().then(
      ({ status, type, body }) => response.writeHead(status, { "content-type": type }).end(body),
      () => response.writeHead(500).end(),
    );
  });
  server.listen(options.port, options.host);
  await once(server, "listening").catch((cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError("configuration_invalid", `FLAMBOYANCE_METRICS_PORT: ${reason}`, { param: "FLAMBOYANCE_METRICS_PORT", cause });
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    close: async () => {
      server.close();
      server.closeAllConnections();
      if (server.listening) await once(server, "close");
    },
  };
}
