/**
 * log Σ exp of a whole vocabulary's logits, several times as quick as with `Math.exp`, which takes 20 to 40 ns a call: it was a tenth of a caption's time at 50,000 tokens and three beams.
 * Owns the approximation, refuses to know what the logits are of; its relative error is below 1e-12, where float32 logits have 1e-7.
 */

/** What a row of logits is normalised by; −Infinity where none can come. */
export function logSumExp(logits: Float32Array): number {
  let most = -Infinity;
  for (let token = 0; token < logits.length; token++) {
    const logit = logits[token] ?? -Infinity;
    if (logit > most) most = logit;
  }
  if (most === -Infinity) return most;
  let sum = 0;
  for (let token = 0; token < logits.length; token++) {
    const below = (logits[token] ?? -Infinity) - most;
    if (below < negligible) continue;
    // exp(−x) = 2^(−n / 64) · exp(rest) with |rest| ≤ ln 2 / 128, where five terms of the series are enough.
    const steps = (0.5 - below * stepsPerUnit) | 0;
    const rest = below + steps * unitsPerStep;
    sum += (powers[steps] ?? 0) * (1 + rest * (1 + rest * (1 / 2 + rest * (1 / 6 + rest * (1 / 24)))));
  }
  return most + Math.log(sum);
}

/** e⁻⁴⁵ of a million tokens is less than the last bit of the sum. */
const negligible = -45;
const stepsPerUnit = 64 / Math.LN2;
const unitsPerStep = Math.LN2 / 64;
/** 2^(−n / 64) */
const powers = Float64Array.from({ length: Math.ceil(-negligible * stepsPerUnit) + 2 }, (_, steps) => 2 ** (-steps / 64));
