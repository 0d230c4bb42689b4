/**
 * Which frames stand for a video: evenly spaced, each from the middle of its stretch, so that neither the first nor the last (often titles, or black) is favoured.
 * Owns the law alone; what a frame is, its callers know.
 */

/** The indexes, rising, of `wanted` frames out of `total`: floor((k + 0.5) · total / wanted); all of them where there are no more. */
export function chooseFrames(total: number, wanted: number): number[] {
  if (total <= wanted) return Array.from({ length: total }, (_, index) => index);
  // Whole numbers until the division, which then can't fall below a whole quotient.
  return Array.from({ length: wanted }, (_, index) => Math.floor(((2 * index + 1) * total) / (2 * wanted)));
}
