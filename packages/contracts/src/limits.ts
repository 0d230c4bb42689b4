/** Every bound that a caller can run into, with its unit in its name. Refuses tuning knobs: those stand in the process that owns them. */
export const limits = {
  manifestLineBytes: 1024 * 1024,
  manifestItems: 500_000_000,
  /** Of an item's or a result's line that the service wrote, so that a damaged object isn't held whole. */
  storedLineBytes: 64 * 1024 * 1024,
  /** How many times its compressed bytes a manifest may unpack to, past the first `manifestFreeBytes`: what is more is no manifest, but a bomb. */
  manifestInflation: 500,
  manifestFreeBytes: 64 * 1024 * 1024,
  parquetFooterBytes: 64 * 1024 * 1024,
  /** Compressed, of a row group's columns that are read: they are held together. */
  parquetGroupBytes: 256 * 1024 * 1024,
  /** Unpacked, of one page of one column. */
  parquetPageBytes: 128 * 1024 * 1024,
  /** Of the reader's own time, whatever else the machine does; more with the file's rows and bytes. What takes longer is made to. */
  parquetSeconds: 60,
  /** That the reader holds at once. */
  parquetMemoryBytes: 1024 * 1024 * 1024,
  columnNameCharacters: 200,
  /** Of a prefix's `include`, and of its `exclude`. */
  patterns: 32,
  patternCharacters: 1_024,
  /** Of an id in a path or a query: a batch's, a model's, a key's. A longer one is no route's. */
  idCharacters: 500,
  requestBodyBytes: 4 * 1024 * 1024,
  /** Of a location `s3://bucket/key`: a key has 1,024 bytes. */
  locationCharacters: 1_200,
  urlCharacters: 2_048,
  /** Of a tenant, for reading and for writing. */
  accessPatterns: 64,
  bucketCredentials: 16,
  /** Ten years: of a key's life, where it has an end. */
  keySeconds: 315_360_000,
  /** Thirty days: how long a rotated key may still be good. */
  keyGraceSeconds: 2_592_000,
  customIdCharacters: 512,
  etagCharacters: 200,
  questionCharacters: 4_000,
  examples: 64,
  imageBytes: 64 * 1024 * 1024,
  /** Of the frames taken from an animation, together. */
  imagePixels: 100_000_000,
  /** Of all its frames together, taken or not: each is painted over those before it. */
  animationPixels: 400_000_000,
  /** Of an animation, taken or not. */
  animationFrames: 10_000,
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
  /** Of all that its `errors` list shows: behind those how many more there were, and what ended the reading. */
  errorsShown: 52,
  /** Refused lines that a dry run's report shows. */
  reportErrors: 1_000,
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
  /** One after another, of one batch. */
  retries: 50,
  /** That a retry may name. */
  errorCodes: 50,
  errorCodeCharacters: 64,
  resultsPage: 1_000,
} as const;
