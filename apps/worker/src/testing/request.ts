/** A request as the api freezes it, for this package's tests. */
import type { BatchRequest } from "@flamboyance/contracts";

export function requestOf(fields: Partial<BatchRequest> = {}): BatchRequest {
  return {
    id: "batch_1",
    tenant: "birds",
    access: { read: ["photos"], write: ["photos"], credentials: [] },
    created_at: 0,
    expires_at: 1,
    idempotency_key: null,
    model: { name: "m", key: "k" },
    task: "caption",
    input: "s3://photos/",
    output: null,
    examples: [],
    question: null,
    pixels: "exact",
    generation: { max_new_tokens: 20, min_new_tokens: 0, num_beams: 1 },
    on_invalid: "fail",
    completion_window: "24h",
    metadata: null,
    weight: 1,
    priority: 0,
    ...fields,
  };
}
