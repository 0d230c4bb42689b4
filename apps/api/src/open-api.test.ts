import type { Queue } from "@flamboyance/queue";
import type { Buckets, Storage } from "@flamboyance/storage";
import { expect, it } from "vitest";
import { createApp } from "./app.ts";

it("docs/openapi.json is what the api serves (`npm run openapi` writes it)", async () => {
  // The document needs no Redis and no S3: whatever asked them would fail.
  const away = { queue: {} as Queue, storage: {} as Storage, buckets: {} as Buckets };
  const app = await createApp({ ...away, bucket: "service", keys: [], logLevel: "silent" });
  const answer = await app.inject({ url: "/openapi.json" });
  await app.close();
  expect(answer.statusCode).toBe(200);
  const document = `${JSON.stringify(answer.json(), null, 2)}\n`;
  await expect(document).toMatchFileSnapshot("../../../docs/openapi.json");
});
