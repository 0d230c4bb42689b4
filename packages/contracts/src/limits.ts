/** Every bound that a caller can run into, with its unit in its name. Refuses tuning knobs: those stand in the process that owns them. */
export const limits = {
  manifestLineBytes: 1024 * 1024,
  manifestItems: 500_000_000,
  requestBodyBytes: 4 * 1024 * 1024,
  customIdCharacters: 512,
  questionCharacters: 4_000,
  examples: 64,
  imageBytes: 64 * 1024 * 1024,
  /** Of the frames taken from an animation, together. */
  imagePixels: 100_000_000,
  /** Of all its frames together, taken or not: each is painted over those before it. */
  animationPixels: 400_000_000,
  /** Taken of an item's or a support example's video; also the images that a support example may list. */
  frames: 64,
  /** That a line of the manifest may list. */
  imagesPerItem: 1_000,
  /** A batch's priority, above and below 0. */
  priority: 10,
  /** A tenant's weight. */
  weight: 100,
  metadataPairs: 16,
  metadataKeyCharacters: 64,
  metadataValueCharacters: 512,
  /** Line errors of a failed batch that its `errors` list shows. */
  lineErrorsShown: 50,
  newTokens: 512,
  beams: 8,
  /** Of one item, `n`. */
  texts: 8,
  topK: 100_000,
  stopStrings: 4,
  stopCharacters: 64,
  /** They are judged side by side, so their number is memory. */
  labels: 100,
  labelCharacters: 100,
  listPage: 100,
  resultsPage: 1_000,
} as const;
