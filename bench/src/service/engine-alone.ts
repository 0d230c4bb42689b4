/** The engine without a service, in a process of its own: captions the dataset's images, all at once, and prints the seconds. Owns what is timed: rows, not opening or decoding. */
import { plainImage } from "@flamboyance/dev/plain-image";
import { buildPrompt, decodePixels, openModel } from "@flamboyance/model";
import { z } from "zod";

export const aloneJob = z.object({
  folder: z.string(),
  items: z.int(),
  imageSide: z.int(),
  warmUp: z.int(),
  tokens: z.int(),
  beams: z.int(),
});
export type AloneJob = z.infer<typeof aloneJob>;

const given = process.argv[2];
if (given !== undefined) {
  const { folder, items, imageSide, warmUp, tokens, beams } = aloneJob.parse(JSON.parse(given));
  const model = await openModel(folder);
  const { query } = buildPrompt("caption", [], { image: null });
  const pixels = [];
  for (let item = 0; item < items + warmUp; item++)
    pixels.push(await decodePixels(plainImage(item, imageSide), model.description.preprocessing, { maxPixels: 1e8 }));
  const caption = (images: readonly Float32Array[]) =>
    Promise.all(
      images.map((image, index) =>
        model.generate({
          id: `${index}`,
          text: query.text,
          media: [[image]],
          generation: { maxNewTokens: tokens, minNewTokens: tokens, numBeams: beams },
        }),
      ),
    );
  await caption(pixels.slice(items));
  const startedMs = performance.now();
  await caption(pixels.slice(0, items));
  process.stdout.write(`${(performance.now() - startedMs) / 1_000}\n`);
  await model.close();
}
