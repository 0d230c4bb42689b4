/** How a worker starts: it answers from the first moment, says what it waits for, and ends at once where it can't be looked at. */
import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { freePort } from "@flamboyance/dev/port";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { startService, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

let service: Service;
beforeAll(async () => {
  service = await startService({ workers: 0 });
});
afterAll(() => service.close());

/** Takes every connection, and never says a word. */
let silent: Server;
let silentPort: number;
beforeEach(async () => {
  silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a listening TCP server has an AddressInfo
  ({ port: silentPort } = silent.address() as AddressInfo);
});
afterEach(() => void silent.close());

it("is healthy and not ready, with the reason, before it has reached what it needs", async () => {
  const port = await freePort();
  const starting = service.addWorker({ FLAMBOYANCE_METRICS_PORT: String(port), REDIS_URL: `redis://127.0.0.1:${silentPort}` });
  const failed = expect(starting).rejects.toThrow("Redis doesn't answer");
  const at = (path: string) => fetch(`http://127.0.0.1:${port}${path}`).catch(() => null);
  const answer = await until(
    "an answer",
    () => at("/ready"),
    (found) => found !== null,
  );
  expect(await answer?.json()).toEqual({ status: "not ready", reason: "Redis isn't reached yet" });
  expect((await at("/health"))?.status).toBe(200);
  expect((await at("/metrics"))?.status).toBe(200);
  await failed;
});

it("ends at once where its port is taken, and names the variable", async () => {
  const starting = service.addWorker({ FLAMBOYANCE_METRICS_PORT: String(silentPort) });
  await expect(starting).rejects.toThrow("FLAMBOYANCE_METRICS_PORT: listen EADDRINUSE");
});
