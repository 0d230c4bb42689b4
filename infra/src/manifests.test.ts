/** What must hold of k8s/: each document by its kind's schema, and the facts that tie the manifests to the apps. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadAppConfig, type AppName } from "./app-config.ts";
import { readStages } from "./dockerfile.ts";
import { parseManifests, podOf, problemsOf, readManifests, type Container, type Manifest } from "./manifests.ts";
import { root } from "./root.ts";

const files = globSync("k8s/**/*.yaml", { cwd: root, exclude: (path) => path.endsWith("kustomization.yaml") }).toSorted();
const manifests = readManifests(files);
const secret = manifests.find(({ kind }) => kind === "Secret");
const owners = manifests.filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet");
const apps: readonly AppName[] = ["api", "worker"];
const ownerOf = (name: string) => owners.find(({ metadata }) => metadata.name === name);
const settings = Object.fromEntries(
  readFileSync(join(root, "k8s/base/config.env"), "utf8")
    .trim()
    .split("\n")
    .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
);

function containerOf(owner: Manifest | undefined): Container {
  const [container] = owner === undefined ? [] : podOf(owner).spec.containers;
  if (container === undefined) throw new Error("no such container");
  return container;
}

/** What the container's process would find in its environment; secrets as stand-ins. */
function environmentOf(container: Container): Record<string, string> {
  const secrets: Record<string, string> = {
    FLAMBOYANCE_KEYS: JSON.stringify([{ tenant: "a", name: "a", sha256: "0".repeat(64), buckets: ["images"] }]),
    AWS_ACCESS_KEY_ID: "access",
    AWS_SECRET_ACCESS_KEY: "secret",
  };
  const own = container.env.map(({ name, value, valueFrom }) => {
    const resource = valueFrom?.resourceFieldRef?.resource.replace("requests.", "") ?? "";
    return [name, value ?? secrets[valueFrom?.secretKeyRef?.key ?? ""] ?? container.resources.requests[resource] ?? ""];
  });
  return { ...settings, ...Object.fromEntries(own) };
}

describe("k8s/, by the kinds' schemas", () => {
  it("reads every document", () => {
    const kinds = manifests.map(({ kind }) => kind);
    for (const kind of ["Deployment", "StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy", "Secret", "Namespace"])
      expect(kinds).toContain(kind);
  });

  it.each(manifests.map((manifest) => [`${manifest.kind} ${manifest.metadata.name}`, manifest] as const))(
    "finds nothing wrong in %s",
    async (_, found) => {
      expect(await problemsOf(found)).toEqual([]);
    },
  );

  it("would find an unknown field, a missing one and a wrong type", async () => {
    const service = "apiVersion: v1\nkind: Service\nmetadata: { name: a }\nspec: { ports: [{ port: 80, targetPorts: http }] }\n";
    expect(await problemsOf(only(service))).toEqual(["/spec/ports/0/targetPorts is no field of v1 Service"]);
    const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: a }\nspec: { replicas: two, selector: {} }\n";
    const problems = await problemsOf(only(deployment));
    expect(problems.join()).toContain("replicas");
    expect(problems.join()).toContain("template");
  });
});

describe.each(apps)("the %s's Deployment", (app) => {
  const owner = ownerOf(`flamboyance-${app}`);
  const container = containerOf(owner);
  const pod = owner === undefined ? null : podOf(owner).spec;

  it("gives the app an environment that it starts with, and no name that it doesn't read", async () => {
    const { readConfig, configurationTable } = await loadAppConfig(app);
    const environment = environmentOf(container);
    expect(() => readConfig(environment)).not.toThrow();
    const read = new Set(configurationTable().map(({ name }) => name));
    expect(Object.keys(environment).filter((name) => !read.has(name))).toEqual([]);
  });

  it("takes from the Secret only what the template has, and puts no secret elsewhere", () => {
    const wanted = container.env.flatMap(({ valueFrom }) => (valueFrom?.secretKeyRef === undefined ? [] : [valueFrom.secretKeyRef]));
    expect(wanted.length).toBeGreaterThan(0);
    expect(wanted.filter(({ name, key }) => name !== secret?.metadata.name || secret.stringData?.[key] === undefined)).toEqual([]);
    const plain = [...container.env.filter(({ value }) => value !== undefined).map(({ name }) => name), ...Object.keys(settings)];
    expect(plain.filter((name) => /KEY|SECRET|TOKEN|PASSWORD/.test(name))).toEqual([]);
  });

  it("probes paths that the app answers, on the port that it listens on", () => {
    const sources = globSync(`apps/${app}/src/*.ts`, { cwd: root, exclude: (path) => path.endsWith(".test.ts") })
      .map((file) => readFileSync(join(root, file), "utf8"))
      .join("\n");
    const probes = [container.startupProbe, container.livenessProbe, container.readinessProbe];
    expect(probes.map(({ httpGet }) => httpGet?.path)).toEqual(["/health", "/health", "/ready"]);
    for (const { httpGet } of probes) {
      expect(sources).toContain(`"${httpGet?.path ?? "none"}"`);
      expect(container.ports.map(({ name }) => name)).toContain(httpGet?.port);
    }
    const port = environmentOf(container)[app === "api" ? "FLAMBOYANCE_PORT" : "FLAMBOYANCE_METRICS_PORT"];
    expect(container.ports.map(({ containerPort }) => String(containerPort))).toEqual([port]);
  });

  it("is scraped where it answers", () => {
    const annotations = owner === undefined ? {} : podOf(owner).metadata.annotations;
    expect(annotations).toMatchObject({
      "prometheus.io/scrape": "true",
      "prometheus.io/path": "/metrics",
      "prometheus.io/port": String(container.ports[0]?.containerPort),
    });
  });

  it("runs an image of infra/Dockerfile", () => {
    expect(container.image).toBe(`flamboyance/${app}`);
    expect(readStages().map(({ name }) => name)).toContain(app);
  });

  it("has more time to end than it needs", async () => {
    const { readConfig } = await loadAppConfig(app);
    const preStop = container.lifecycle?.preStop.sleep.seconds ?? 0;
    const drainSeconds = app === "worker" ? Number(readConfig(environmentOf(container))["drainMs"]) / 1_000 : 30;
    expect(drainSeconds).toBeGreaterThan(0);
    expect(pod?.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(preStop + drainSeconds + 10);
  });
});

describe("every pod of k8s/", () => {
  it.each(owners.map((owner) => [owner.metadata.name, owner] as const))(
    "%s is restricted, bounded, and selected by its own labels",
    (_, owner) => {
      const { metadata, spec } = podOf(owner);
      expect(spec.automountServiceAccountToken).toBe(false);
      expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } });
      expect(metadata.labels).toMatchObject(labelsOf(owner.spec?.["selector"]));
      for (const container of spec.containers) {
        expect(container.securityContext).toMatchObject({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        });
        expect(Object.keys(container.resources.requests).toSorted()).toEqual(["cpu", "memory"]);
        expect(container.resources.limits).toHaveProperty("memory");
        const claims = (owner.spec?.["volumeClaimTemplates"] ?? []) as { metadata: { name: string } }[];
        const volumes = new Set([...spec.volumes.map(({ name }) => name), ...claims.map((claim) => claim.metadata.name)]);
        expect(container.volumeMounts.filter(({ name }) => !volumes.has(name))).toEqual([]);
      }
    },
  );

  it("is found by every Service, budget and policy that selects", () => {
    const labels = owners.map((owner) => podOf(owner).metadata.labels);
    const selectors = manifests.flatMap(({ kind, spec }) => {
      if (kind === "Service") return [spec?.["selector"] as Record<string, string>];
      if (kind === "PodDisruptionBudget") return [labelsOf(spec?.["selector"])];
      if (kind === "NetworkPolicy") return [labelsOf(spec?.["podSelector"])];
      return [];
    });
    expect(selectors.length).toBeGreaterThan(4);
    for (const selector of selectors)
      expect(labels.some((pod) => Object.entries(selector).every(([key, value]) => pod[key] === value))).toBe(true);
  });

  it("keeps Redis from evicting and from forgetting", () => {
    const { args, volumeMounts } = containerOf(ownerOf("redis"));
    expect(args.join(" ")).toContain("--appendonly yes");
    expect(args.join(" ")).toContain("--maxmemory-policy noeviction");
    expect(volumeMounts).toEqual([{ name: "data", mountPath: "/data" }]);
  });

  it("has no secret in the repository", () => {
    expect(Object.values(secret?.stringData ?? {})).toEqual(["", "", ""]);
  });
});

function only(yaml: string): Manifest {
  const [manifest] = parseManifests(yaml);
  if (manifest === undefined) throw new Error("no manifest");
  return manifest;
}

function labelsOf(selector: unknown): Record<string, string> {
  return (selector as { matchLabels: Record<string, string> }).matchLabels;
}
