// The demo's door: the shipped model's pieces, and scenes with truth to try it on. Nothing in src/ imports it.
export { makeDemoScenes, makeSupportExamples, type DemoImage, type DemoOrder } from "./dataset.ts";
export { DEMO_MODEL_NAME, demoPieces } from "./pieces.ts";
export { EXAMPLE_TASKS, type ExampleTask } from "./tasks.ts";
