/** What kustomize makes of k8s/: it builds, and what it builds is whole and valid. */
import { describe, expect, it } from "vitest";
import { podOf, parseManifests, problemsOf, type Manifest } from "./manifests.ts";
import { ask, findKustomize } from "./programs.ts";
import { root } from "./root.ts";

const kustomize = findKustomize();

describe.skipIf(kustomize === null).each(["base", "overlays/example"])("k8s/%s, by kustomize", (folder) => {
  const build = async (): Promise<Manifest[]> => {
    const [program = "", ...words] = kustomize ?? [];
    const { code, text } = await ask(program, [...words, `k8s/${folder}`], { cwd: root });
    expect(code, text).toBe(0);
    return parseManifests(text);
  };

  it("is valid, every document", async () => {
    const manifests = await build();
    expect(manifests.length).toBeGreaterThan(8);
    expect((await Promise.all(manifests.map(problemsOf))).flat()).toEqual([]);
  });

  it("ties pods to the ConfigMap that it makes, and to images with a tag", async () => {
    const manifests = await build();
    const maps = manifests.filter(({ kind }) => kind === "ConfigMap").map(({ metadata }) => metadata.name);
    expect(maps).toHaveLength(1);
    const containers = manifests
      .filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet")
      .flatMap((owner) => podOf(owner).spec.containers);
    expect(new Set(containers.flatMap(({ envFrom }) => envFrom.map(({ configMapRef }) => configMapRef.name)))).toEqual(new Set(maps));
    expect(containers.filter(({ image }) => !/:[\w.-]+$/.test(image))).toEqual([]);
  });

  it("puts all in one namespace where the overlay names one", async () => {
    const manifests = (await build()).filter(({ kind }) => kind !== "Namespace");
    const namespaces = new Set(manifests.map(({ metadata }) => metadata.namespace));
    expect([...namespaces]).toEqual([folder === "base" ? undefined : "captions"]);
  });
});
