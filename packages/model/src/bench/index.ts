/** What benchmarks need of the engine beside its door: models with made-up weights, what the machine could do at best, and the halves of what is measured. */
export { productForms } from "../description.ts";
export { writeReleasedPieces } from "../released/write.ts";
export { writeRandomModel } from "./write-random-model.ts";
export { decoderProducts, measureMachine, visionProducts, type MachineLimits } from "./roofline.ts";
export { timePixels } from "./time-pixels.ts";
