/**
 * Points at which a test holds, stops or kills this process: before each writing step of the queue and of S3, and before each image that is decoded.
 * Owns which steps those are; refuses to know how it is asked (contracts). Without FLAMBOYANCE_FAILPOINTS nothing is wrapped, so nothing is asked and nothing costs.
 */
import { createHash } from "node:crypto";
import { askingAt, withAsks } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import type { Storage } from "@flamboyance/storage";
import type { Decoder } from "./decode.ts";

interface Rooms {
  readonly queue: Queue;
  readonly storage: Storage;
  readonly decoder: Decoder;
}

const queueSteps: readonly (keyof Queue)[] = [
  "submit",
  "adoptPlan",
  "refusePlan",
  "dispatch",
  "claim",
  "release",
  "record",
  "seal",
  "sealed",
  "end",
  "copyEnd",
  "settle",
  "startDelete",
  "forgetDeleted",
  "confirmFrontier",
  "repair",
];
const storageSteps: readonly (keyof Storage)[] = ["write", "writeStream", "remove"];

/** The rooms with an ask at `url` before each step; before a decode it is about the bytes' SHA-256. */
export function withFailpoints(rooms: Rooms, url: string | null): Rooms {
  if (url === null) return rooms;
  const ask = askingAt(url, process.pid);
  const { decoder } = rooms;
  return {
    queue: withAsks(rooms.queue, queueSteps, ask),
    storage: withAsks(rooms.storage, storageSteps, ask),
    decoder: {
      ...decoder,
      decode: async (bytes, look, signal) => {
        await ask("decode", createHash("sha256").update(bytes).digest("hex"));
        return decoder.decode(bytes, look, signal);
      },
    },
  };
}
