import { promptTemplates } from "@flamboyance/model";
import { describe, expect, test } from "vitest";
import { seededRandom } from "./random.ts";
import { makeScene, type Scene, type SceneObject } from "./scene.ts";
import { END_OF_CHUNK, EXAMPLE_TASKS, IMAGE, PROMPT, captionOf, questionsOf } from "./tasks.ts";

function sceneOf(...objects: Partial<SceneObject>[]): Scene {
  const plain: SceneObject = { shape: "circle", colour: "red", size: "large", x: 32, y: 32, radius: 10, degrees: 0, rgb: [200, 30, 30] };
  return {
    seed: 0,
    heldOut: false,
    ground: { kind: "flat", rgb: [180, 180, 180] },
    objects: objects.map((object) => Object.assign({}, plain, object)),
  };
}

function everyQuestion(scene: Scene): Map<string, string> {
  const asked = new Map<string, string>();
  for (let stream = 0; stream < 200; stream++) {
    for (const { question, answer } of questionsOf(scene, seededRandom(1, stream))) {
      // One question has one answer, whenever it is drawn.
      expect(asked.get(question) ?? answer).toBe(answer);
      asked.set(question, answer);
    }
  }
  return asked;
}

describe("captions", () => {
  test("one object is named", () => {
    expect(captionOf(sceneOf({}))).toBe("a large red circle");
  });

  test("of two the one above or left comes first, whatever the order of drawing", () => {
    const above = { y: 12 };
    const below = { y: 50, shape: "square", colour: "blue", size: "small" } as const;
    expect(captionOf(sceneOf(above, below))).toBe("a large red circle above a small blue square");
    expect(captionOf(sceneOf(below, above))).toBe("a large red circle above a small blue square");
    expect(captionOf(sceneOf({ x: 50 }, { x: 14, shape: "ring" }))).toBe("a large red ring left of a large red circle");
  });

  test("three and more are told from left to right", () => {
    const scene = sceneOf({ x: 50 }, { x: 10, colour: "pink", size: "small" }, { x: 30, shape: "star" });
    expect(captionOf(scene)).toBe("small pink circle, large red star, large red circle");
    expect(EXAMPLE_TASKS.colours(scene)).toBe("pink, red, red");
    expect(EXAMPLE_TASKS.shapes(scene)).toBe("circle, star, circle");
    expect(EXAMPLE_TASKS.count(scene)).toBe("3");
  });

  test("the scenes on which the model was trained still say what they said", () => {
    expect(captionOf(makeScene({ seed: 1_000_000, heldOut: false }))).toBe(
      "small pink triangle, small blue ring, small green cross, small blue star, large black cross",
    );
    expect(captionOf(makeScene({ seed: 1_000_002, heldOut: false }))).toBe("a large cyan square");
  });

  test("a caption says everything that is there and fits OpenFlamingo's 20 new tokens", () => {
    for (let seed = 0; seed < 300; seed++) {
      const scene = makeScene({ seed, heldOut: true });
      const caption = captionOf(scene);
      for (const { size, colour, shape } of scene.objects) expect(caption).toContain(`${size} ${colour} ${shape}`);
      // Each word and each comma is one token of the demo model.
      expect(caption.split(/ |(?=,)/).length).toBeLessThan(20);
    }
  });
});

describe("questions", () => {
  test("what is there once can be asked for", () => {
    const asked = everyQuestion(sceneOf({ x: 12 }, { x: 50, shape: "square", colour: "blue", size: "small" }));
    expect(asked.get("how many objects are there?")).toBe("2");
    expect(asked.get("what colour is the square?")).toBe("blue");
    expect(asked.get("what shape is the red object?")).toBe("circle");
    expect(asked.get("what size is the blue square?")).toBe("small");
    expect(asked.get("is there a blue square?")).toBe("yes");
    expect(asked.get("is there a blue circle?")).toBe("no");
    expect(asked.get("what is left of the blue square?")).toBe("red circle");
    expect(asked.get("what is right of the red circle?")).toBe("blue square");
  });

  test("what is there twice is counted, not asked for", () => {
    const asked = everyQuestion(sceneOf({ x: 10 }, { x: 30 }, { x: 50, shape: "cross", colour: "orange" }));
    expect(asked.get("how many circles are there?")).toBe("2");
    expect(asked.get("how many red objects are there?")).toBe("2");
    expect(asked.get("is there an orange cross?")).toBe("yes");
    expect(asked.has("what colour is the circle?")).toBe(false);
    expect(asked.has("what size is the red circle?")).toBe(false);
  });

  test("a side is asked about only where exactly one object lies there, clearly", () => {
    const asked = everyQuestion(sceneOf({ x: 10, y: 30 }, { x: 30, y: 33, shape: "star" }, { x: 50, y: 10, shape: "cross" }));
    expect(asked.get("what is left of the red star?")).toBe("red circle");
    expect(asked.has("what is left of the red cross?")).toBe(false); // two lie there
    expect(asked.has("what is above the red star?")).toBe(false); // the circle is neither above nor below
    expect(asked.has("what is left of the red circle?")).toBe(false); // nothing does
  });

  test("no question of any scene has two answers", () => {
    for (let seed = 0; seed < 20; seed++) everyQuestion(makeScene({ seed, heldOut: seed % 2 === 0 }));
  });
});

test("training assembles the very prompts that the engine builds", () => {
  expect(`${IMAGE}${PROMPT.output}{answer}${END_OF_CHUNK}`).toBe(promptTemplates.caption);
  expect(`${IMAGE}${PROMPT.question}{question}${PROMPT.answer}{answer}${END_OF_CHUNK}`).toBe(promptTemplates.vqa);
});
