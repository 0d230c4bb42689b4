/** What benchmarks need of the engine beside its door: a model of any shape with random weights, and what the machine could do at best. */
export { writeRandomModel } from "./write-random-model.ts";
export { decoderProducts, measureMachine, visionProducts, type MachineLimits } from "./roofline.ts";
export { timePixels } from "./time-pixels.ts";
