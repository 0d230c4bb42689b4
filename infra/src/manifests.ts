/**
 * Kubernetes manifests as data: read from files or from kustomize's output, and validated by the types of kubernetes-models.
 * Those accept unknown fields, as the API server does with a warning; here a field that no schema asked for is an error.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { root } from "./root.ts";

const text = z.string();
const reference = z.object({ name: text, key: text });
const variable = z.object({
  name: text,
  value: text.optional(),
  valueFrom: z.object({ secretKeyRef: reference.optional(), resourceFieldRef: z.object({ resource: text }).optional() }).optional(),
});
const probe = z.object({ httpGet: z.object({ path: text, port: text }).optional(), exec: z.object({ command: z.array(text) }).optional() });
const container = z.object({
  name: text,
  image: text,
  args: z.array(text).default([]),
  env: z.array(variable).default([]),
  envFrom: z.array(z.object({ configMapRef: z.object({ name: text }) })).default([]),
  ports: z.array(z.object({ name: text, containerPort: z.int() })),
  startupProbe: probe,
  livenessProbe: probe,
  readinessProbe: probe,
  lifecycle: z.object({ preStop: z.object({ sleep: z.object({ seconds: z.int() }) }) }).optional(),
  resources: z.object({ requests: z.record(text, text), limits: z.record(text, text) }),
  securityContext: z.record(text, z.unknown()),
  volumeMounts: z.array(z.object({ name: text, mountPath: text })).default([]),
});
const pod = z.object({
  metadata: z.object({ labels: z.record(text, text), annotations: z.record(text, text).default({}) }),
  spec: z.object({
    automountServiceAccountToken: z.boolean(),
    terminationGracePeriodSeconds: z.int(),
    securityContext: z.record(text, z.unknown()),
    containers: z.array(container),
    volumes: z.array(z.object({ name: text })).default([]),
  }),
});
export type Container = z.infer<typeof container>;
export type Pod = z.infer<typeof pod>;

const manifest = z.looseObject({
  apiVersion: text,
  kind: text,
  metadata: z.looseObject({ name: text, namespace: text.optional(), labels: z.record(text, text).default({}) }),
  data: z.record(text, text).optional(),
  stringData: z.record(text, text).optional(),
  spec: z.record(text, z.unknown()).optional(),
});
export type Manifest = z.infer<typeof manifest>;

export function parseManifests(yaml: string): Manifest[] {
  return parseAllDocuments(yaml).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return manifest.parse(document.toJS());
  });
}

export function readManifests(files: readonly string[]): Manifest[] {
  return files.flatMap((file) => parseManifests(readFileSync(join(root, file), "utf8")));
}

/** The pods that a Deployment or StatefulSet makes. */
export function podOf(owner: Manifest): Pod {
  return pod.parse(owner.spec?.["template"]);
}

/** What is wrong with a manifest, by its kind's schema; empty where nothing is. */
export async function problemsOf(found: Manifest): Promise<string[]> {
  const specifier = `kubernetes-models/${found.apiVersion}`;
  const kinds = z.record(text, z.unknown()).parse({ ...(await import(specifier)) });
  const model = z.custom<{ prototype: { validate(): void } }>((value) => typeof value === "function").safeParse(kinds[found.kind]);
  if (!model.success) return [`kubernetes-models has no ${found.apiVersion} ${found.kind}`];
  const unread = new Set<string>();
  try {
    model.data.prototype.validate.call(tracked(found, "", unread));
  } catch (error) {
    return [String(error)];
  }
  return [...unread].map((path) => `${path} is no field of ${found.apiVersion} ${found.kind}`);
}

/** The same value; of `unread` every path is deleted that somebody reads. */
function tracked<Value>(value: Value, path: string, unread: Set<string>): Value {
  if (typeof value !== "object" || value === null) return value;
  for (const key of Object.keys(value)) unread.add(`${path}/${key}`);
  // One proxy a place: a second read mustn't count its fields as unread again.
  const inner = new Map<string, unknown>();
  return new Proxy(value, {
    get(target, key, receiver) {
      const found: unknown = Reflect.get(target, key, receiver);
      if (typeof key === "symbol" || !Object.hasOwn(target, key)) return found;
      unread.delete(`${path}/${key}`);
      if (!inner.has(key)) inner.set(key, tracked(found, `${path}/${key}`, unread));
      return inner.get(key);
    },
  });
}
