/** An image as bytes, and what Pillow does to its colours after a resize where it has alpha. Owns the form that decoding, shrinking and resizing hand on; refuses anything but 8 bits. */

export interface Raster {
  /** (height, width, channels), 8 bits each. */
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** Grey, grey and alpha, RGB, RGBA. */
  readonly channels: 1 | 2 | 3 | 4;
  /** Of a picture that was decoded smaller. */
  readonly shrunkFrom?: ShrunkFrom;
}

export interface ShrunkFrom {
  readonly width: number;
  readonly height: number;
  /** How many of the raster's pixels all of the picture would take up: a little more than there are where the decoder left a picture's last ones out. Not whole numbers. */
  readonly across: number;
  readonly down: number;
}

/** Colours × 255 / alpha, cut off; unchanged where alpha is 0 or 255. */
export function unpremultiplied(raster: Raster): Raster {
  const { data, channels } = raster;
  const plain = data.slice();
  for (let pixel = 0; pixel < data.length; pixel += channels) {
    const alpha = data[pixel + channels - 1] ?? 0;
    if (alpha === 0 || alpha === 255) continue;
    for (let channel = 0; channel < channels - 1; channel += 1)
      plain[pixel + channel] = Math.min(255, Math.trunc((255 * (data[pixel + channel] ?? 0)) / alpha));
  }
  return { ...raster, data: plain };
}
