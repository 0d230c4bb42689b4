/**
 * What a plan keeps in the service's bucket, counted before it is written, against its tenant's quota. Adoption decides, with what else the tenant keeps; what can't be
 * adopted by itself needn't be written to its end.
 */
import { CodedError, type BatchRequest } from "@flamboyance/contracts";

export class KeptBytes {
  readonly #most: number;
  #sum = 0;

  constructor({ quotas }: Pick<BatchRequest, "quotas">) {
    this.#most = quotas?.stored_bytes ?? Infinity;
  }

  /** Throws quota_exceeded. */
  add(bytes: number): void {
    this.#sum += bytes;
    if (this.#sum <= this.#most) return;
    throw new CodedError("quota_exceeded", `its plan alone keeps more than the ${this.#most} bytes that you may have (stored_bytes)`);
  }
}
