/**
 * What a vision tower's tensors don't tell: its heads and its activation, from open_clip_config.json or transformers' config.json.
 * Owns both forms of the file; refuses settings that the graph doesn't have.
 */
import { dirname, join } from "node:path";
import { z } from "zod";
import { CodedError } from "@flamboyance/contracts";
import { isThere, readJson } from "./piece-file.ts";

export interface VisionConfig {
  readonly activation: "quick_gelu" | "gelu";
  /** A head's width, or the number of heads; 64 wide where the file says neither. */
  readonly heads: { readonly width: number } | { readonly count: number };
}

/** The given file or object, else the one beside the vision file in its form's own name, else the other form's; null where there is none. */
export async function readVisionConfig(
  visionFile: string,
  given: unknown,
  preferred: "open_clip" | "transformers",
): Promise<VisionConfig | null> {
  if (typeof given === "string") return parseVisionConfig(given, await readJson(given));
  if (given !== undefined) return parseVisionConfig("the given vision configuration", given);
  const names = ["open_clip_config.json", "config.json"];
  for (const name of preferred === "open_clip" ? names : names.toReversed()) {
    const path = join(dirname(visionFile), name);
    if (await isThere(path)) return parseVisionConfig(path, await readJson(path));
  }
  return null;
}

const count = z.int().positive();

/** open_clip's: bare, or under `model_cfg` as on the Hub. */
const openClipSchema = z.object({ quick_gelu: z.boolean().default(false), vision_cfg: z.object({ head_width: count.default(64) }) });

/** transformers': a whole CLIP with `vision_config`, or the vision tower's own. The defaults are CLIPVisionConfig's. */
const transformersSchema = z.object({
  hidden_act: z.string().default("quick_gelu"),
  num_attention_heads: count.optional(),
  layer_norm_eps: z.number().default(1e-5),
});

function parseVisionConfig(path: string, json: unknown): VisionConfig {
  const outer = z
    .object({ model_cfg: z.unknown().optional(), vision_cfg: z.unknown().optional(), vision_config: z.unknown().optional() })
    .safeParse(json);
  if (outer.success && (outer.data.model_cfg ?? outer.data.vision_cfg) !== undefined) {
    const config = parsed(path, openClipSchema, outer.data.model_cfg ?? json);
    return { activation: config.quick_gelu ? "quick_gelu" : "gelu", heads: { width: config.vision_cfg.head_width } };
  }
  const config = parsed(path, transformersSchema, outer.data?.vision_config ?? json);
  if (config.hidden_act !== "quick_gelu" && config.hidden_act !== "gelu")
    throw new CodedError("model_piece_unsupported", `${path}: the activation ${config.hidden_act} isn't QuickGELU or GELU`, {
      param: "hidden_act",
    });
  if (config.layer_norm_eps !== 1e-5)
    throw new CodedError("model_piece_unsupported", `${path}: layer_norm_eps isn't 1e-5`, { param: "layer_norm_eps" });
  return {
    activation: config.hidden_act,
    heads: config.num_attention_heads === undefined ? { width: 64 } : { count: config.num_attention_heads },
  };
}

function parsed<T>(path: string, schema: z.ZodType<T>, json: unknown): T {
  const result = schema.safeParse(json);
  if (!result.success)
    throw new CodedError("model_piece_unsupported", `${path} isn't a vision configuration: ${z.prettifyError(result.error)}`);
  return result.data;
}
