/** How long one item's stages take it. Owns nothing but the sums; what another item did for this one (a shared image) takes it no time. */
import { performance } from "node:perf_hooks";
import type { Provenance } from "@flamboyance/contracts";

export type ItemStage = "fetch" | "decode" | "engine";

export class ItemClock {
  readonly #ms: Record<ItemStage, number> = { fetch: 0, decode: 0, engine: 0 };

  async time<Result>(stage: ItemStage, work: () => Promise<Result>): Promise<Result> {
    const startedMs = performance.now();
    try {
      return await work();
    } finally {
      this.#ms[stage] += performance.now() - startedMs;
    }
  }

  timings(): Provenance["timings"] {
    const { fetch, decode, engine } = this.#ms;
    return { fetch_ms: Math.round(fetch), decode_ms: Math.round(decode), engine_ms: Math.round(engine) };
  }
}
