// Where the shipped model lies: the trained pieces in this folder, in the form that importModel takes.
import { fileURLToPath } from "node:url";

/** The demo model's name in catalogues and batches. */
export const DEMO_MODEL_NAME = "flamboyance-demo";

/** Absolute paths of the shipped pieces, or of other ones in the same form under `folder`. */
export function demoPieces(folder: string = fileURLToPath(new URL("pieces/", import.meta.url))) {
  const at = (path: string) => `${folder.replace(/[/\\]$/, "")}/${path}`;
  return {
    vision: at("vision/open_clip_model.safetensors"),
    visionConfig: at("vision/open_clip_config.json"),
    languageModel: at("lm"),
    checkpoint: at("checkpoint.pt"),
    crossAttentionEvery: 1,
  };
}
