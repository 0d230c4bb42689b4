/**
 * Which running work must stop because of what happened to its batch. Owns one look at Redis per interval for all of it,
 * and the one AbortSignal per job with its typed reason.
 */
import type { Queue, StopReason } from "@flamboyance/queue";
import { JobStop, type StopKind } from "./job-stop.ts";

export interface StopWatch {
  /** A signal that fires with a JobStop when the batch is cancelled, expires or ends. Call `done` when the work is over. */
  watch(id: string): { readonly signal: AbortSignal; done(): void };
  /** Asks once for everything that is watched. */
  look(): Promise<void>;
}

const kinds: Record<StopReason, StopKind> = { cancelling: "cancelled", expiring: "expired", sealed: "ended", gone: "ended" };

export function startStopWatch(queue: Pick<Queue, "stopping">): StopWatch {
  const watched = new Map<AbortController, string>();
  return {
    watch: (id) => {
      const controller = new AbortController();
      watched.set(controller, id);
      return { signal: controller.signal, done: () => void watched.delete(controller) };
    },
    look: async () => {
      const ids = new Set(watched.values());
      if (ids.size === 0) return;
      const stopping = await queue.stopping([...ids]);
      for (const [controller, id] of watched) {
        const reason = stopping.get(id);
        if (reason !== undefined) controller.abort(new JobStop(kinds[reason]));
      }
    },
  };
}
