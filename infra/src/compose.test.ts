/** What must hold of infra/compose.yaml beyond its schema. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { loadAppConfig, type AppConfig, type AppName } from "./app-config.ts";
import { composePath, fillIn, readCompose, variablesOf } from "./compose.ts";
import { readStages } from "./dockerfile.ts";

const variables = {
  S3_ACCESS_KEY_ID: "access",
  S3_SECRET_ACCESS_KEY: "secret",
  FLAMBOYANCE_KEYS: JSON.stringify([{ tenant: "a", name: "a", sha256: "0".repeat(64), buckets: ["images"] }]),
  GRAFANA_PASSWORD: "password",
};
const { services, volumes } = readCompose(variables);
const apps: readonly AppName[] = ["api", "worker"];
const configs = new Map<AppName, AppConfig>();
const seconds = (text = "") => Number(/^(\d+)s$/.exec(text)?.[1]);

beforeAll(async () => {
  for (const app of apps) configs.set(app, await loadAppConfig(app));
});

describe("infra/compose.yaml", () => {
  it("fills in variables as compose does", () => {
    expect(fillIn("$$a ${B:-c} ${D:?no} ${B:-}", { D: "d" })).toBe("$a c d ");
    expect(() => fillIn("${A:?no}", { A: "" })).toThrow("A is not set");
  });

  it("asks for exactly the variables that env.example names", () => {
    const example = readFileSync(join(dirname(composePath), "env.example"), "utf8");
    const named = (pattern: RegExp) => [...example.matchAll(pattern)].map((match) => match[1] ?? "").toSorted();
    const asked = variablesOf(readFileSync(composePath, "utf8"));
    expect(named(/^(\w+)=$/gm)).toEqual(asked.required);
    expect(named(/^# (\w+)=/gm)).toEqual(asked.optional);
  });

  it("gives each app an environment that it starts with, and no name that it doesn't read", () => {
    for (const app of apps) {
      const environment = { ...imageEnvironment(app), ...services[app]?.environment };
      const config = configs.get(app);
      expect(() => config?.readConfig(environment)).not.toThrow();
      const read = new Set(config?.configurationTable().map(({ name }) => name));
      // What Node and glibc read, before the app does.
      const runtimes = /^NODE_(ENV|OPTIONS)$|^MALLOC_\w+_$/;
      expect(Object.keys(environment).filter((name) => !read.has(name) && !runtimes.test(name))).toEqual([]);
    }
  });

  it("waits longer for a worker's end than the worker drains", () => {
    const config = configs.get("worker")?.readConfig({ ...imageEnvironment("worker"), ...services["worker"]?.environment });
    expect(seconds(services["worker"]?.stop_grace_period) * 1_000).toBeGreaterThan(Number(config?.["drainMs"]));
  });

  it("watches the health of every service that stays, in the image or here", () => {
    const inImage = new Set(
      readStages().flatMap(({ name, steps }) =>
        steps.some((step) => step.kind === "setting" && step.keyword === "HEALTHCHECK") ? [name] : [],
      ),
    );
    const staying = Object.entries(services).filter(([, service]) => service.restart !== "no");
    expect(staying.map(([name]) => name).toSorted()).toEqual(["api", "grafana", "prometheus", "redis", "s3", "worker"]);
    expect(
      staying.filter(([name, { healthcheck, build }]) => healthcheck === undefined && !(build !== undefined && inImage.has(name))),
    ).toEqual([]);
  });

  it("waits for what it needs: healthy where it stays, done where it ends", () => {
    for (const { depends_on: needs } of Object.values(services)) {
      for (const [name, { condition }] of Object.entries(needs)) {
        expect(services[name], name).toBeDefined();
        expect(condition).toBe(services[name]?.restart === "no" ? "service_completed_successfully" : "service_healthy");
      }
    }
  });

  it("mounts volumes that it declares and files that are there", () => {
    const sources = Object.values(services).flatMap(({ volumes: mounts }) => mounts.map((mount) => mount.split(":")[0] ?? ""));
    const own = sources.filter((source) => !source.startsWith("."));
    expect([...new Set(own)].toSorted()).toEqual(Object.keys(volumes).toSorted());
    const files = sources.filter((source) => source.startsWith("."));
    expect(files.length).toBeGreaterThan(0);
    expect(files.filter((file) => !existsSync(join(dirname(composePath), file)))).toEqual([]);
  });

  it("builds targets that the Dockerfile has, and pins every other image", () => {
    const targets = new Set(readStages().map(({ name }) => name));
    for (const { build, image } of Object.values(services)) {
      if (build !== undefined) expect(targets).toContain(build.target);
      expect(image).toMatch(/:v?\d+\.\d+[\w.-]*$/);
    }
  });

  it("publishes on loopback only", () => {
    const ports = Object.values(services).flatMap(({ ports: published }) => published);
    expect(ports.length).toBeGreaterThan(0);
    expect(ports.filter((port) => !port.startsWith("127.0.0.1:"))).toEqual([]);
  });

  it("runs Redis so that nothing is evicted and writes outlive it", () => {
    const command = services["redis"]?.command.join(" ");
    expect(command).toContain("--appendonly yes");
    expect(command).toContain("--maxmemory-policy noeviction");
    expect(services["redis"]?.volumes).toEqual(["redis:/data"]);
  });
});

function imageEnvironment(app: AppName): Record<string, string> {
  const stage = readStages().find(({ name }) => name === app);
  const pairs = stage?.steps.flatMap((step) => (step.kind === "setting" && step.keyword === "ENV" ? step.words : [])) ?? [];
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));
}
