/** The api's process: reads the configuration, opens Redis and S3, listens, and closes everything at SIGTERM or SIGINT. Only it exits. */
import { isCoded } from "@flamboyance/contracts";
import { openQueue } from "@flamboyance/queue";
import { openStorage } from "@flamboyance/storage";
import { createApp } from "./app.ts";
import { configurationTable, readProcessConfig } from "./config.ts";
import { withFailpoints } from "./failpoints.ts";

const exitCodes = { done: 0, failed: 1, misconfigured: 2 } as const;

if (process.argv.includes("--help") || process.argv.includes("-h")) console.log(helpText());
else await run();

async function run(): Promise<void> {
  try {
    const config = readProcessConfig();
    let tell = (error: unknown): void => console.error(error);
    const { queue, storage } = withFailpoints(
      {
        queue: await openQueue({ url: config.redis.url, prefix: config.redis.prefix, onFault: (error) => tell(error) }),
        storage: openStorage({ ...config.s3, maxSockets: 64, requestTimeoutMs: 10_000, retries: 2 }),
      },
      config.failpoints,
    );
    const app = await createApp({
      queue,
      storage,
      bucket: config.bucket,
      keys: config.keys,
      catalogueSeconds: config.catalogueSeconds,
      logLevel: config.logLevel,
    });
    tell = (error) => app.log.warn({ err: error }, "a fault of Redis that no request waits for");
    const url = await app.listen({ host: config.host, port: config.port, listenTextResolver: (address) => `listening at ${address}` });
    const close = async (): Promise<void> => {
      app.log.info("closing");
      await app.close();
      await queue.close();
      storage.close();
    };
    let closing = false;
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        // A second one means at once.
        if (closing) process.exit(exitCodes.failed);
        closing = true;
        close().then(
          () => process.exit(exitCodes.done),
          (error: unknown) => {
            app.log.error({ err: error }, "closing failed");
            process.exit(exitCodes.failed);
          },
        );
      });
    }
    app.log.info({ url }, "ready for requests");
  } catch (error) {
    console.error(`flamboyance api: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(isCoded(error, "configuration_invalid") ? exitCodes.misconfigured : exitCodes.failed);
  }
}

function helpText(): string {
  const rows = configurationTable().map(({ name, fallback, meaning }) => `  ${name} (${fallback})\n      ${meaning}`);
  return `The api of Flamboyance: HTTP on one port, Redis and S3 behind it.

Configured by the environment (in brackets: the default, or required):
${rows.join("\n")}

Routes: /openapi.json describes /v1; /health, /ready and /metrics are for those who run it.
Exit codes: 0 closed by a signal, 1 failed, 2 a variable is missing or wrong.`;
}
