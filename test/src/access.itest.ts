/**
 * A tenant with buckets of its own elsewhere, images of the web, and rights to some folders: through the real service, from the key's making to the delivery.
 * What all its processes wrote into their logs is looked through for everything that must not stand there.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient, type Client } from "@flamboyance/client";
import { startHttpsServer, type HttpsServer } from "@flamboyance/dev/https-server";
import { noOpModelName } from "@flamboyance/dev/no-op-model";
import { plainImage } from "@flamboyance/dev/plain-image";
import { startTestServer } from "@flamboyance/dev/s3";
import { serviceBucket } from "@flamboyance/dev/system";
import { jsonLine, openStorage, type Storage } from "@flamboyance/storage";
import { afterAll, beforeAll, expect, it } from "vitest";
import { codesOf, customerBucket, startService, type Service } from "./testing/service.ts";

const { signal } = new AbortController();
const theirKeys = { accessKeyId: "THEIRACCESSKEY", secretAccessKey: "their-secret-access-key" };
const put = { contentType: "application/octet-stream", signal };

let folder: string;
let service: Service;
let theirs: Awaited<ReturnType<typeof startTestServer>>;
let birds: Storage;
let web: HttpsServer;
let admin: Client;
let tenant: Client;
let tenantKey: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "flamboyance-access-"));
  theirs = await startTestServer({ keys: theirKeys });
  birds = openStorage({ ...theirs, pathStyle: true });
  for (const bucket of ["birds-in", "birds-out"]) await birds.ensureBucket(bucket, { signal });
  web = await startHttpsServer(["127.0.0.1"], (request, response) => {
    if (request.url?.startsWith("/inside") === true) response.writeHead(302, { location: "https://169.254.169.254/latest/" }).end();
    else if (request.url?.startsWith("/a.png") === true) response.end(plainImage(7));
    else response.writeHead(404).end();
  });
  const certificate = join(folder, "certificate.pem");
  await writeFile(certificate, web.certificate);
  await writeFile(
    join(folder, "birds.json"),
    JSON.stringify({ access_key_id: theirKeys.accessKeyId, secret_access_key: theirKeys.secretAccessKey }),
  );
  service = await startService({
    environment: {
      FLAMBOYANCE_BUCKET_CREDENTIALS: folder,
      FLAMBOYANCE_WEB_LOOPBACK: "true",
      NODE_EXTRA_CA_CERTS: certificate,
      FLAMBOYANCE_LOG_LEVEL: "trace",
    },
  });
  admin = createClient({ baseUrl: service.apiUrl, apiKey: service.adminKey });
  await admin.tenants.put("birds", {
    read: ["birds-in/2024/", `${customerBucket}/shared/`, "https://127.0.0.1"],
    write: ["birds-out/results/"],
    credentials: [{ buckets: ["birds-*"], secret: "birds", endpoint: theirs.endpoint }],
  });
  ({ key: tenantKey } = await admin.keys.create({ tenant: "birds" }));
  tenant = createClient({ baseUrl: service.apiUrl, apiKey: tenantKey });
});
afterAll(async () => {
  await service.close();
  birds.close();
  await web.close();
  await theirs.close();
  await rm(folder, { recursive: true });
});

it("runs over its own buckets, folders of ours, and the web; what it may not touch is an error of its line", async () => {
  await birds.write({ bucket: "birds-in", key: "2024/a.png" }, plainImage(1), put);
  await birds.write({ bucket: "birds-in", key: "private/b.png" }, plainImage(2), put);
  await service.storage.write({ bucket: customerBucket, key: "shared/c.png" }, plainImage(3), put);
  await service.storage.write({ bucket: customerBucket, key: "others/d.png" }, plainImage(4), put);
  const at = `https://127.0.0.1:${web.port}`;
  const cases: [string, string][] = [
    ["s3://birds-in/2024/a.png", "ok"],
    [`s3://${customerBucket}/shared/c.png`, "ok"],
    [`${at}/a.png?X-Amz-Signature=signature-of-theirs`, "ok"],
    [`${at}/none.png?X-Amz-Signature=signature-of-theirs`, "image_not_found"],
    [`${at}/inside`, "image_forbidden"],
    ["s3://birds-in/private/b.png", "bucket_not_allowed"],
    [`s3://${customerBucket}/others/d.png`, "bucket_not_allowed"],
    [`s3://${serviceBucket}/batches/x`, "bucket_not_allowed"],
    ["https://169.254.169.254/latest/meta-data/", "bucket_not_allowed"],
    ["https://elsewhere.example/a.png", "bucket_not_allowed"],
  ];
  const manifest = cases.map(([image], index) => jsonLine({ custom_id: String(index), image })).join("");
  await birds.write({ bucket: "birds-in", key: "2024/list.jsonl" }, manifest, put);
  const batch = await tenant.batches.create({
    model: noOpModelName,
    task: "caption",
    input: "s3://birds-in/2024/list.jsonl",
    output: "s3://birds-out/results/first/",
    examples: [
      { image: `${at}/a.png`, text: "one" },
      { image: "s3://birds-in/2024/a.png", text: "two" },
    ],
    on_invalid: "skip",
  });
  const ended = await tenant.batches.wait(batch.id, { intervalMs: 50, signal: AbortSignal.timeout(50_000) });
  expect(ended).toMatchObject({ status: "completed", errors: null });
  const lines = await Array.fromAsync(tenant.batches.results(batch.id));
  expect(codesOf(lines)).toEqual(cases.map(([, code]) => code));
  expect(JSON.stringify(lines)).not.toContain("signature-of-theirs");
  await expect
    .poll(async () => (await tenant.batches.get(batch.id)).delivery, { timeout: 20_000 })
    .toEqual({ status: "delivered", error: null });
  expect(await birds.describe({ bucket: "birds-out", key: "results/first/output.jsonl" }, { signal })).not.toBeNull();
});

it("refuses places that aren't the tenant's at the submit, and another tenant's look at its batch", async () => {
  const create = (changes: object) =>
    tenant.batches.create({ model: noOpModelName, task: "caption", input: "s3://birds-in/2024/", ...changes });
  for (const [changes, param] of [
    [{ input: "s3://birds-in/" }, "input"],
    [{ input: "s3://birds-in/20*/x.png" }, "input"],
    [{ input: `s3://${customerBucket}/others/` }, "input"],
    [{ output: "s3://birds-out/" }, "output"],
    [{ output: "s3://birds-in/2024/" }, "output"],
    [{ examples: [{ image: "https://elsewhere.example/a.png", text: "x" }] }, "examples[0].image"],
  ] as const)
    await expect(create(changes), JSON.stringify(changes)).rejects.toMatchObject({ code: "bucket_not_allowed", param });
  const { id } = await create({ input: "s3://birds-in/2024/*.png" });
  await expect(service.client.batches.get(id)).rejects.toMatchObject({ code: "not_found" });
  await tenant.batches.wait(id, { intervalMs: 50, signal: AbortSignal.timeout(50_000) });
});

it("an example that the guard refuses fails the batch, with its place", async () => {
  const { id } = await tenant.batches.create({
    model: noOpModelName,
    task: "caption",
    input: "s3://birds-in/2024/*.png",
    examples: [{ image: `https://127.0.0.1:${web.port}/inside?X-Amz-Signature=signature-of-theirs`, text: "x" }],
  });
  const ended = await tenant.batches.wait(id, { intervalMs: 50, signal: AbortSignal.timeout(50_000) });
  expect(ended).toMatchObject({ status: "failed", errors: { data: [{ code: "bad_example", param: "examples[0].image" }] } });
  expect(JSON.stringify(ended.errors)).not.toContain("signature-of-theirs");
});

it("no log line of any process holds a key, a secret, a signature or an image's bytes", async () => {
  await expect(createClient({ baseUrl: service.apiUrl, apiKey: "a-wrong-key-of-somebody" }).models.list()).rejects.toMatchObject({
    status: 401,
  });
  const { id, key: rotated } = await admin.keys.create({ tenant: "birds", name: "second" });
  await admin.keys.revoke(id);
  await expect(createClient({ baseUrl: service.apiUrl, apiKey: rotated }).models.list()).rejects.toMatchObject({ status: 401 });
  const logs = (await Promise.all([service.api, ...service.workers].map(({ logFile }) => readFile(logFile, "utf8")))).join("");
  // They say something: who did what.
  expect(logs.length).toBeGreaterThan(1_000);
  const image = Buffer.from(plainImage(1));
  const pieces = [image.subarray(40, 70), image.subarray(-40, -20)];
  const secrets = [
    ...[tenantKey, rotated, service.apiKey, service.adminKey].flatMap((key) => [key, key.slice(-43)]),
    "a-wrong-key-of-somebody",
    "signature-of-theirs",
    theirKeys.secretAccessKey,
    service.s3.secretAccessKey,
    ...pieces.flatMap((piece) => [piece.toString("base64").slice(2, 18), piece.toString("hex"), [...piece].join(",")]),
  ];
  for (const secret of secrets) expect(logs.includes(secret), `${secret.slice(0, 6)}… stands in a log`).toBe(false);
});
