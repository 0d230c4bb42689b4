/** What tests of the api's batches ask again and again: submits, and what stands in S3 of them. Owns the usual request. */
import { batchKeys } from "@flamboyance/storage";
import { control } from "@flamboyance/contracts";
import { expect } from "vitest";
import { imagesBucket, serviceBucket, type Answer, type Service } from "./service.ts";

const forever = new AbortController().signal;

export const caption = { model: "demo", task: "caption", input: `s3://${imagesBucket}/manifest.jsonl` };

/** `service`: as it is when a call is made, for it starts in a hook. */
export function callsOf(service: () => Service) {
  const submit = (changes: object = {}, headers: Record<string, string> = {}): Promise<Answer> =>
    service().ask("/v1/batches", { method: "POST", body: { ...caption, ...changes }, headers });
  const stored = async (key: string) =>
    JSON.parse(Buffer.from((await service().storage.read({ bucket: serviceBucket, key }, { signal: forever })).bytes).toString());
  return {
    submit,
    /** The id of one that is accepted. */
    submitted: async (changes: object = {}): Promise<string> => {
      const answer = await submit(changes);
      expect(answer.status, answer.text).toBe(200);
      return answer.body.id;
    },
    stored,
    /** The batch's control objects, in the order of their numbers. */
    controlLog: async (id: string): Promise<unknown[]> => {
      const objects: unknown[] = [];
      for await (const { key } of service().storage.list(
        { bucket: serviceBucket, key: batchKeys(id).controlPrefix },
        { signal: forever },
      )) {
        expect(key).toMatch(/\/control\/\d{10}-[0-9a-z]{26}\.json$/);
        objects.push(control.parse(await stored(key)));
      }
      return objects;
    },
  };
}
