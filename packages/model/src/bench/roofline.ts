/**
 * What the machine could do at best, measured with the very runtime and products that the engine uses: a large product's operations per second, and the
 * bytes per second of reading a weight for a single row. And how many operations a Flamingo needs. Owns both sides of a roofline; refuses the engine itself.
 */
import { patchCount, type Architecture } from "../architecture.ts";
import type { ProductForm } from "../graph/layers.ts";
import { openProduct } from "./open-product.ts";

export interface MachineLimits {
  /** 10⁹ operations (a multiplication and an addition are two) per second, in the shape that suits it best. */
  readonly gigaOperations: Readonly<Record<ProductForm, number>>;
  /** 10⁹ bytes of a float32 weight per second at one row. */
  readonly gigabytes: number;
}

const tries = 9;
/** Rows, in, out: as a decode step and an image have them. Which of them suits a machine best depends on its caches. */
const shapes = [
  [48, 2048, 2048],
  [48, 2048, 8192],
  [257, 1024, 4096],
  [257, 2048, 2048],
  [512, 2048, 8192],
] as const;

export async function measureMachine(threads: number): Promise<MachineLimits> {
  const operations = async (form: ProductForm): Promise<number> => {
    let best = 0;
    for (const [rows, inWidth, outWidth] of shapes)
      best = Math.max(best, (2 * rows * inWidth * outWidth) / (await secondsOf({ form, rows, inWidth, outWidth, threads })) / 1e9);
    return best;
  };
  // 268 MB: no cache holds it.
  const wide = { form: "float32", rows: 1, inWidth: 2048, outWidth: 32_768, threads } as const;
  return {
    gigaOperations: { float32: await operations("float32"), int8: await operations("int8"), int4: await operations("int4") },
    gigabytes: (wide.inWidth * wide.outWidth * 4) / (await secondsOf(wide)) / 1e9,
  };
}

interface Product {
  readonly form: ProductForm;
  readonly rows: number;
  readonly inWidth: number;
  readonly outWidth: number;
  readonly threads: number;
}

/** The best of several tries: the machine's limit, not its mood. */
async function secondsOf({ form, rows, inWidth, outWidth, threads }: Product): Promise<number> {
  const session = await openProduct(form, someNumbers(outWidth * inWidth), [outWidth, inWidth], { threads });
  const data = someNumbers(rows * inWidth);
  let best = Infinity;
  for (let attempt = 0; attempt < tries; attempt++) {
    const started = performance.now();
    await session.run({ rows: { type: "float32", data, shape: [rows, inWidth] } }, ["products"]);
    best = Math.min(best, (performance.now() - started) / 1000);
  }
  await session.release();
  return best;
}

function someNumbers(count: number): Float32Array {
  const numbers = new Float32Array(count);
  for (let index = 0; index < count; index++) numbers[index] = ((index * 7919) % 1009) / 1009 - 0.5;
  return numbers;
}

/** Operations of the products with weights for one image: ViT, resampler, keys and values. Attention's own products are left out (4 % at ViT-L/14). */
export function visionProducts(architecture: Architecture): number {
  const { vision, resampler, crossAttention, decoder } = architecture;
  const patches = patchCount(architecture);
  const { width } = vision;
  const tower =
    vision.layers * (patches + 1) * (4 * width * width + 2 * width * vision.mlpWidth) + patches * 3 * vision.patchSize ** 2 * width;
  const { latents, innerWidth } = resampler;
  const onLatents = latents * (2 * width * innerWidth + 2 * width * resampler.feedForwardWidth);
  const onAll = (patches + latents) * 2 * width * innerWidth;
  const media = Math.floor(decoder.layers / crossAttention.every) * latents * 2 * width * crossAttention.innerWidth;
  return 2 * (tower + resampler.layers * (onLatents + onAll) + media);
}

/** Operations of the products with weights for one token, the vocabulary's included. */
export function decoderProducts({ decoder, crossAttention }: Architecture): number {
  const { width } = decoder;
  const own = decoder.layers * (4 * width * width + 2 * width * decoder.mlpWidth);
  const crossLayers = Math.floor(decoder.layers / crossAttention.every);
  const cross = crossLayers * (2 * width * crossAttention.innerWidth + 2 * width * crossAttention.feedForwardWidth);
  return 2 * (own + cross + width * decoder.vocabularySize);
}
