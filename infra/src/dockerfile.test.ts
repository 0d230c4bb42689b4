/** What must hold of the images, read from infra/Dockerfile without building it. */
import { readFileSync } from "node:fs";
import { validate } from "dockerfile-utils/lib/main.js";
import { describe, expect, it } from "vitest";
import { buildContext } from "./build-context.ts";
import { dockerfilePath, readStages, type Stage, type Step } from "./dockerfile.ts";
import { neededToRun, workspaces } from "./workspaces.ts";

const stages = readStages();
const folders = workspaces();
const images = stages.filter(({ name }) => name === "api" || name === "worker");
const settings = (stage: Stage, keyword: string) =>
  stage.steps.filter((step): step is Extract<Step, { kind: "setting" }> => step.kind === "setting" && step.keyword === keyword);

describe("infra/Dockerfile", () => {
  it("has no problem that a linter finds", () => {
    expect(validate(readFileSync(dockerfilePath, "utf8")).map(({ message }) => message)).toEqual([]);
  });

  it("has one target for each app", () => {
    expect(images.map(({ name }) => name)).toEqual(["api", "worker"]);
  });

  it("starts from images with a tag, or from its own stages", () => {
    const own = new Set(stages.map(({ name }) => name));
    expect(stages.filter(({ base }) => !own.has(base) && !/:[\d.]+[\w.-]*$/.test(base))).toEqual([]);
  });

  it("copies only what the build's context holds", () => {
    const context = buildContext();
    const sources = stages
      .flatMap(({ steps }) => steps)
      .flatMap((step) => (step.kind === "copy" && step.from === null ? step.sources : []));
    expect(sources.length).toBeGreaterThan(10);
    expect(sources.filter((source) => !context.some((file) => file === source || file.startsWith(`${source}/`)))).toEqual([]);
  });

  it("copies from stages that stand before", () => {
    const wrong = stages.flatMap(({ steps }, position) =>
      steps.filter(
        (step) => step.kind === "copy" && step.from !== null && !stages.slice(0, position).some(({ name }) => name === step.from),
      ),
    );
    expect(wrong).toEqual([]);
  });

  it("gives npm the package.json of every workspace, which npm ci asks for", () => {
    const wanted = [...folders.values()].map((folder) => `${folder}/package.json`).toSorted();
    const given = stages
      .find(({ name }) => name === "manifests")
      ?.steps.flatMap((step) => (step.kind === "copy" ? step.sources : []))
      .filter((source) => source.includes("/"))
      .toSorted();
    expect(given).toEqual(wanted);
  });

  it("installs for each app what that app needs to run, in one line of one form", () => {
    for (const { name, steps } of images) {
      expect(steps).toContainEqual({ kind: "copy", from: `${name}-modules`, sources: ["/srv"], target: "./" });
      const install = stages.find((stage) => stage.name === `${name}-modules`)?.steps;
      const workspace = `--workspace @flamboyance/${name}`;
      expect(install).toEqual([{ kind: "run", command: `npm pkg delete devDependencies ${workspace} && npm ci --omit=dev ${workspace}` }]);
    }
  });

  it("copies the built form of each package that the app imports, and no other's", () => {
    for (const image of images) {
      const copied = image.steps.flatMap((step) => (step.kind === "copy" && step.from === "build" ? [step.target] : [])).toSorted();
      expect(copied).toEqual(
        neededToRun(`@flamboyance/${image.name}`)
          .own.map((name) => `${folders.get(name) ?? name}/dist`)
          .toSorted(),
      );
    }
  });

  it("runs as the user node, starts the app itself, and asks its own /health", () => {
    for (const image of images) {
      expect(settings(image, "USER").map(({ text }) => text)).toEqual(["node"]);
      expect(settings(image, "ENTRYPOINT").map(({ text }) => text)).toEqual([`["node", "apps/${image.name}/dist/main.js"]`]);
      const healthcheck = settings(image, "HEALTHCHECK")[0]?.text ?? "";
      expect(healthcheck).toMatch(/CMD \[/);
      expect(healthcheck).toContain("/health");
    }
  });

  it("holds no secret", () => {
    const named = stages.flatMap((stage) => [...settings(stage, "ENV"), ...settings(stage, "ARG")]).map(({ text }) => text);
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((text) => /key|secret|token|password/i.test(text))).toEqual([]);
  });

  it("keeps installed and built things, tests, secrets and histories out of the context", () => {
    const context = buildContext();
    expect(context.length).toBeGreaterThan(50);
    expect(context.filter((file) => /(^|\/)(node_modules|dist|\.git|\.env)(\/|$)|\.i?test\.ts$/.test(file))).toEqual([]);
  });
});
