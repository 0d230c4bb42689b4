/**
 * The prompts that OpenFlamingo was trained with, to the letter. Owns the templates and how an example without an image is written; refuses texts that spell a special token,
 * for they would move every later image to another place. Pure: images are whatever the caller uses for them.
 */
import { CodedError } from "@flamboyance/contracts";
import { endOfChunkToken, imageToken } from "./tokenizer.ts";

export type PromptTask = "caption" | "vqa" | "classify" | "prompt";

/** A support example: solved, with or without an image (text only, as the two of OpenFlamingo's "zero-shot" evaluation). */
export interface PromptExample<Image> {
  readonly image?: Image;
  /** vqa: the question; prompt: the text between image and answer. */
  readonly question?: string;
  /** The caption, the answer, the label or what follows the prompt. */
  readonly answer: string;
}

export interface PromptQuery<Image> {
  readonly image: Image;
  readonly question?: string;
}

/** One stretch of the prompt and the images that its `<image>` tokens stand for, in order. */
export interface PromptPassage<Image> {
  readonly text: string;
  readonly images: readonly Image[];
}

export interface Prompt<Image> {
  /** The few-shot prefix, shared by all items that have the same examples. */
  readonly examples: readonly PromptPassage<Image>[];
  readonly query: PromptPassage<Image>;
}

/** `{answer}` ends the query's part; `<|endofchunk|>` ends an example (it has nothing to do with the service's chunks of items). */
export const promptTemplates: Readonly<Record<PromptTask, string>> = {
  caption: "<image>Output:{answer}<|endofchunk|>",
  vqa: "<image>Question:{question} Short answer:{answer}<|endofchunk|>",
  classify: "<image>Output:{answer}<|endofchunk|>",
  prompt: "<image>{question}{answer}<|endofchunk|>",
};

/**
 * Examples and query in the task's form, or in `template`'s: one `<image>`, one `{answer}` with nothing but `<|endofchunk|>` after it, `{question}` where there is one.
 * The query is an example without its answer. Throws CodedError invalid_request with `param` template, question or answer.
 */
export function buildPrompt<Image>(
  task: PromptTask,
  examples: readonly PromptExample<Image>[],
  query: PromptQuery<Image>,
  template: string = promptTemplates[task],
): Prompt<Image> {
  const question = readTemplate(template);
  return {
    examples: examples.map(({ image, answer, ...example }) => {
      const asked = fill(question, example.question);
      const solved = `${asked}${plain(answer, "answer")}${endOfChunkToken}`;
      return image === undefined ? { text: solved.replace(imageToken, ""), images: [] } : { text: solved, images: [image] };
    }),
    query: { text: fill(question, query.question), images: [query.image] },
  };
}

/** The template up to its answer, checked. */
function readTemplate(template: string): string {
  const [question, rest, ...more] = template.split("{answer}");
  const fault =
    question === undefined || rest !== endOfChunkToken || more.length > 0
      ? `ends in {answer}${endOfChunkToken}, and holds {answer} once`
      : question.split(imageToken).length !== 2
        ? `holds ${imageToken} once, before {answer}`
        : question.includes(endOfChunkToken)
          ? `holds ${endOfChunkToken} only at its end`
          : question.split("{question}").length > 2
            ? "holds {question} at most once"
            : null;
  if (fault !== null || question === undefined)
    throw new CodedError("invalid_request", `a prompt template ${fault ?? "isn't empty"}`, { param: "template" });
  return question;
}

function fill(template: string, question: string | undefined): string {
  if (!template.includes("{question}")) return template;
  if (question === undefined) throw new CodedError("invalid_request", "this prompt needs a question", { param: "question" });
  const text = plain(question, "question");
  return template.replace("{question}", () => text);
}

function plain(text: string, param: string): string {
  for (const token of [imageToken, endOfChunkToken])
    if (text.includes(token))
      throw new CodedError("invalid_request", `the text holds ${token}, which means something else to the model`, { param });
  return text;
}
