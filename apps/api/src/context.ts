/** What every route works with. */
import type { Queue } from "@flamboyance/queue";
import type { Buckets, Storage } from "@flamboyance/storage";
import type { ModelCatalogue } from "./model-catalogue.ts";

export interface ApiContext {
  readonly queue: Queue;
  readonly storage: Storage;
  /** Tenants' buckets. */
  readonly buckets: Pick<Buckets, "of">;
  /** The service's bucket. */
  readonly bucket: string;
  readonly catalogue: ModelCatalogue;
}
