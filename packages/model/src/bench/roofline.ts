/**
 * What the machine could do at best, measured with the very runtime and products that the engine uses: a large product's operations per second, and the
 * bytes per second of reading a weight for a single row. And how many operations a Flamingo needs. Owns both sides of a roofline; refuses the engine itself.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { patchCount, type Architecture } from "../architecture.ts";
import type { ProductForm } from "../graph/layers.ts";
import { linear } from "../graph/linear.ts";
import { createGraph } from "../onnx/graph-builder.ts";
import { encodeModel } from "../onnx/model-file.ts";
import { packWeight } from "../onnx/weight-form.ts";
import { openSession } from "../cpu-session.ts";

export interface MachineLimits {
  /** 10⁹ operations (a multiplication and an addition are two) per second at many rows. */
  readonly gigaOperations: Readonly<Record<ProductForm, number>>;
  /** 10⁹ bytes of a float32 weight per second at one row. */
  readonly gigabytes: number;
}

const tries = 5;

export async function measureMachine(threads: number): Promise<MachineLimits> {
  const [inWidth, outWidth, rows] = [2048, 8192, 512];
  const operations = async (form: ProductForm) =>
    (2 * rows * inWidth * outWidth) / (await secondsOf({ form, rows, inWidth, outWidth, threads })) / 1e9;
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
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-roofline-"));
  try {
    const graph = createGraph("product");
    const wiring = { graph, has: (name: string) => name.endsWith("weight"), products: form, attention: "fused" } as const;
    const input = graph.input("rows", "float32", ["rows", inWidth]);
    graph.output("products", linear(wiring, input, "product", outWidth, inWidth), "float32", ["rows", outWidth]);
    const declared = graph.finish();
    const numbers = someNumbers(outWidth * inWidth);
    const bytes: Uint8Array[] = [];
    let end = 0;
    for (const weight of declared.weights) {
      bytes.push(new Uint8Array(weight.offsetBytes - end), packWeight(weight.form, numbers, weight.tensorShape));
      end = weight.offsetBytes + weight.sizeBytes;
    }
    await writeFile(join(folder, "product.data"), Buffer.concat(bytes));
    await writeFile(join(folder, "product.onnx"), encodeModel(declared, "product.data"));
    const session = await openSession(join(folder, "product.onnx"), { threads });
    const data = someNumbers(rows * inWidth);
    let best = Infinity;
    for (let attempt = 0; attempt < tries; attempt++) {
      const started = performance.now();
      await session.run({ rows: { type: "float32", data, shape: [rows, inWidth] } }, ["products"]);
      best = Math.min(best, (performance.now() - started) / 1000);
    }
    await session.release();
    return best;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
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
