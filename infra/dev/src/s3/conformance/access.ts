/** Facts about who may ask: signatures, presigned URLs, buckets. */
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListBucketsCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { expect } from "vitest";
import { sendRaw } from "./raw-request.ts";
import type { ServerUnderTest } from "./server-under-test.ts";

const hourMs = 3_600_000;

export function accessFacts(server: ServerUnderTest): void {
  const { bucket: Bucket, holds } = server;
  const object = { Bucket, Key: "guarded/é 1.txt" };
  const put = () => server.client.send(new PutObjectCommand({ ...object, Body: "guarded", ContentType: "text/plain" }));
  const errorOf = async (answer: Response) => [answer.status, /<Code>(\w+)<\/Code>/.exec(await answer.text())?.[1]];

  holds("a presigned URL reads its object without keys", async () => {
    await put();
    const url = await getSignedUrl(server.client, new GetObjectCommand({ ...object, ResponseContentType: "text/markdown" }), {
      expiresIn: 60,
    });
    const answer = await fetch(url);
    expect([answer.status, await answer.text(), answer.headers.get("content-type")]).toEqual([200, "guarded", "text/markdown"]);
    const part = await fetch(url, { headers: { range: "bytes=2-4" } });
    expect([part.status, await part.text()]).toEqual([206, "ard"]);
  });

  holds("a presigned URL may write", async () => {
    const url = await getSignedUrl(server.client, new PutObjectCommand({ Bucket, Key: "presigned-put" }), { expiresIn: 60 });
    expect((await fetch(url, { method: "PUT", body: "from outside" })).status).toBe(200);
    const got = await server.client.send(new GetObjectCommand({ Bucket, Key: "presigned-put" }));
    expect(await got.Body?.transformToString()).toBe("from outside");
  });

  holds("a presigned URL ends", async () => {
    await put();
    const signingDate = new Date(Date.now() - 120_000);
    const url = await getSignedUrl(server.client, new GetObjectCommand(object), { expiresIn: 60, signingDate });
    expect(await errorOf(await fetch(url))).toEqual([403, "AccessDenied"]);
    const longer = await getSignedUrl(server.client, new GetObjectCommand(object), { expiresIn: 180, signingDate });
    expect((await fetch(longer)).status).toBe(200);
  });

  holds("a presigned URL that was changed is refused", async () => {
    await put();
    const url = await getSignedUrl(server.client, new GetObjectCommand(object), { expiresIn: 60 });
    expect(await errorOf(await fetch(url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")))).toEqual([403, "SignatureDoesNotMatch"]);
    expect(await errorOf(await fetch(url.replace("guarded", "another")))).toEqual([403, "SignatureDoesNotMatch"]);
    expect(await errorOf(await fetch(url, { method: "DELETE" }))).toEqual([403, "SignatureDoesNotMatch"]);
  });

  holds("a wrong secret is refused", async () => {
    const { accessKeyId } = server.running;
    const stranger = server.clientWith({ credentials: { accessKeyId, secretAccessKey: "a wrong secret" } });
    await expect(stranger.send(new GetObjectCommand(object))).rejects.toMatchObject({
      name: "SignatureDoesNotMatch",
      $metadata: { httpStatusCode: 403 },
    });
  });

  holds("an unknown key is refused", async () => {
    const stranger = server.clientWith({ credentials: { accessKeyId: "nobody", secretAccessKey: "nothing" } });
    await expect(stranger.send(new GetObjectCommand(object))).rejects.toMatchObject({
      name: "InvalidAccessKeyId",
      $metadata: { httpStatusCode: 403 },
    });
  });

  holds("nothing is given without a signature", async () => {
    await put();
    const path = `${server.running.endpoint}/${Bucket}`;
    expect(await errorOf(await fetch(`${path}/${encodeURIComponent(object.Key)}`))).toEqual([403, "AccessDenied"]);
    expect(await errorOf(await fetch(`${path}?list-type=2`))).toEqual([403, "AccessDenied"]);
    expect((await fetch(`${path}/dropped`, { method: "PUT", body: "x" })).status).toBe(403);
  });

  holds("a request of an hour ago is refused", async () => {
    const answer = await sendRaw(server.running, { method: "GET", path: `/${Bucket}/guarded`, date: new Date(Date.now() - hourMs) });
    expect(answer).toMatchObject({ status: 403, code: "RequestTimeTooSkewed" });
    const ahead = await sendRaw(server.running, { method: "GET", path: `/${Bucket}/guarded`, date: new Date(Date.now() + hourMs) });
    expect(ahead).toMatchObject({ status: 403, code: "RequestTimeTooSkewed" });
  });

  holds("a header that was changed behind its signature is refused", async () => {
    const headers = { "content-type": "text/plain", "x-amz-meta-owner": "me" };
    const spoil = (sent: Record<string, string>) => void (sent["x-amz-meta-owner"] = "you");
    const raw = { method: "PUT", path: `/${Bucket}/headers`, headers, body: "x" };
    expect(await sendRaw(server.running, raw)).toMatchObject({ status: 200 });
    expect(await sendRaw(server.running, { ...raw, spoil })).toMatchObject({ status: 403, code: "SignatureDoesNotMatch" });
  });

  holds("an x-amz header that isn't signed is refused", async () => {
    const spoil = (sent: Record<string, string>) => void (sent["x-amz-meta-slipped-in"] = "yes");
    const answer = await sendRaw(server.running, { method: "PUT", path: `/${Bucket}/slipped-in`, body: "x", spoil });
    expect(answer).toMatchObject({ status: 403, code: "AccessDenied" });
  });

  holds("a signature for another region is refused", async () => {
    const answer = await sendRaw(server.running, { method: "GET", path: `/${Bucket}/guarded`, credentials: { region: "eu-west-9" } });
    expect(answer).toMatchObject({ status: 400, code: "AuthorizationHeaderMalformed" });
  });

  holds("buckets are made, told and taken away", async () => {
    const { client } = server;
    const Other = { Bucket: "another-bucket" };
    await expect(client.send(new HeadBucketCommand(Other))).rejects.toMatchObject({ $metadata: { httpStatusCode: 404 } });
    await client.send(new CreateBucketCommand(Other));
    await client.send(new HeadBucketCommand(Other));
    await expect(client.send(new CreateBucketCommand(Other))).rejects.toMatchObject({ $metadata: { httpStatusCode: 409 } });
    const names = (await client.send(new ListBucketsCommand({}))).Buckets?.map(({ Name }) => Name);
    expect(names).toEqual(expect.arrayContaining([Bucket, "another-bucket"]));
    await client.send(new PutObjectCommand({ ...Other, Key: "in-it", Body: "x" }));
    await expect(client.send(new DeleteBucketCommand(Other))).rejects.toMatchObject({ name: "BucketNotEmpty" });
    await client.send(new DeleteObjectCommand({ ...Other, Key: "in-it" }));
    await client.send(new DeleteBucketCommand(Other));
    await expect(client.send(new HeadBucketCommand(Other))).rejects.toMatchObject({ $metadata: { httpStatusCode: 404 } });
  });
}
