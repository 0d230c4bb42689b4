/** Facts about ListObjectsV2: every key, once, in order, however the pages are cut. */
import { ListObjectsV2Command, PutObjectCommand, type ListObjectsV2CommandInput } from "@aws-sdk/client-s3";
import { expect } from "vitest";
import { compareKeys } from "../key-order.ts";
import type { ServerUnderTest } from "./server-under-test.ts";

export function listingFacts(server: ServerUnderTest): void {
  const { bucket: Bucket, holds } = server;

  async function putAll(keys: readonly string[]): Promise<void> {
    const left = [...keys];
    const next = async (): Promise<void> => {
      for (let Key = left.pop(); Key !== undefined; Key = left.pop())
        await server.client.send(new PutObjectCommand({ Bucket, Key, Body: "x" }));
    };
    await Promise.all(Array.from({ length: 16 }, next));
  }

  /** All pages of a listing: keys, common prefixes, and how long each page was. */
  async function listAll(input: Partial<ListObjectsV2CommandInput>): Promise<{ keys: string[]; prefixes: string[]; pages: number[] }> {
    const all = { keys: [] as string[], prefixes: [] as string[], pages: [] as number[] };
    let ContinuationToken: string | undefined;
    do {
      const page = await server.client.send(new ListObjectsV2Command({ Bucket, ...input, ContinuationToken }));
      all.keys.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ""));
      all.prefixes.push(...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? ""));
      all.pages.push(page.KeyCount ?? 0);
      ContinuationToken = page.NextContinuationToken;
      expect(page.IsTruncated).toBe(ContinuationToken !== undefined);
    } while (ContinuationToken !== undefined);
    return all;
  }

  const many = Array.from({ length: 1_234 }, (_, index) => `many/${String(index * 7).padStart(6, "0")}.jpg`);

  holds("a listing goes on past 1,000 keys, in order, each once", async () => {
    await putAll(many);
    const all = await listAll({ Prefix: "many/" });
    expect(all.keys).toEqual(many);
    expect(all.pages).toEqual([1000, 234]);
  });

  holds("a listing may begin behind a key", async () => {
    await putAll(many.slice(0, 20));
    const rest = await listAll({ Prefix: "many/", StartAfter: many[4], MaxKeys: 400 });
    expect(rest.keys.slice(0, 15)).toEqual(many.slice(5, 20));
    const between = await listAll({ Prefix: "many/", StartAfter: `${many[4]}0` });
    expect(between.keys[0]).toBe(many[5]);
  });

  holds("keys below a delimiter are told as one prefix, across pages too", async () => {
    await putAll(["tree/a.txt", "tree/b/1", "tree/b/2", "tree/b/3/4", "tree/c.txt", "tree/d/1", "tree/d/2", "tree/e.txt"]);
    const whole = await listAll({ Prefix: "tree/", Delimiter: "/" });
    expect(whole).toEqual({ keys: ["tree/a.txt", "tree/c.txt", "tree/e.txt"], prefixes: ["tree/b/", "tree/d/"], pages: [5] });
    const cut = await listAll({ Prefix: "tree/", Delimiter: "/", MaxKeys: 2 });
    expect(cut).toEqual({ ...whole, pages: [2, 2, 1] });
    const single = await listAll({ Prefix: "tree/", Delimiter: "/", MaxKeys: 1 });
    expect(single).toEqual({ ...whole, pages: [1, 1, 1, 1, 1] });
  });

  holds("a prefix may end within a name", async () => {
    await putAll(["pre/alpha", "pre/alps", "pre/beta"]);
    expect((await listAll({ Prefix: "pre/al" })).keys).toEqual(["pre/alpha", "pre/alps"]);
    expect((await listAll({ Prefix: "pre/gamma" })).keys).toEqual([]);
  });

  const odd = ["strange/ space", "strange/+plus", "strange/&<amp>", "strange/Z", "strange/a", "strange/é", "strange/\uFFFD", "strange/😀"];

  holds("keys come in the order of their bytes", async () => {
    await putAll(odd);
    expect((await listAll({ Prefix: "strange/" })).keys).toEqual(odd.toSorted(compareKeys));
  });

  holds("keys come percent-encoded where that is asked for", async () => {
    await putAll(odd);
    const page = await server.client.send(new ListObjectsV2Command({ Bucket, Prefix: "strange/", EncodingType: "url" }));
    const keys = (page.Contents ?? []).map(({ Key }) => decodeURIComponent((Key ?? "").replaceAll("+", " ")));
    expect(page.EncodingType).toBe("url");
    expect(keys.toSorted()).toEqual(odd.toSorted());
  });

  holds("an object in a listing is told as it is", async () => {
    const { ETag } = await server.client.send(new PutObjectCommand({ Bucket, Key: "told/one", Body: "12345" }));
    const page = await server.client.send(new ListObjectsV2Command({ Bucket, Prefix: "told/" }));
    expect(page.Contents).toMatchObject([{ Key: "told/one", Size: 5, ETag, LastModified: expect.any(Date) as Date }]);
  });
}
