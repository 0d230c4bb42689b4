/** Fuzzing a reference model: its pieces are imported and opened as parity does it, its cases' media are what rows show. Owns nothing else. */
import { join } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import type { Media } from "../model.ts";
import { withEngine } from "../parity/engine.ts";
import { framesOf, mediaName, readReference, type Reference } from "../parity/reference.ts";
import { addReports, fuzz, type FuzzReport } from "./run.ts";

/** Rows in one company. */
const companySize = 40;

const references = join(import.meta.dirname, "..", "..", "reference");

/** Cases `from` up to `from + count` of the seed, on the model of that name. */
export async function fuzzReference(
  name: string,
  { seed, from, count }: { readonly seed: number; readonly from: number; readonly count: number },
  onProgress: (report: FuzzReport) => void = () => {},
): Promise<FuzzReport> {
  const reference = await readReference(join(references, name));
  const media = mediaOf(reference);
  return withEngine(reference, async (parts) => {
    let sum: FuzzReport | null = null;
    for (let done = 0; done < count; done += companySize) {
      const report = await fuzz({ parts, media, seed, from: from + done, count: Math.min(companySize, count - done) });
      sum = sum === null ? report : addReports(sum, report);
      onProgress(report);
    }
    if (sum === null) throw new CodedError("invalid_request", "there are no cases to run");
    return sum;
  });
}

function mediaOf({ json, tensors }: Reference): Media[] {
  const pixelsOf = (image: string): Float32Array => {
    const pixels = tensors.get(`pixels/${image}`);
    if (pixels === undefined) throw new CodedError("model_piece_corrupt", `the reference has no pixels of ${image}`);
    return pixels.data;
  };
  const named = new Map(Object.values(json.cases).flatMap(({ media }) => media.map((each) => [mediaName(each), framesOf(each)])));
  return [...named.values()].map((frames) => frames.map(pixelsOf));
}
