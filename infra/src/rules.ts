/** Reads the alert rules, their tests and the dashboard, and finds the expressions and metric names in them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { root } from "./root.ts";

export const prometheusFolder = join(root, "infra/prometheus");
const read = (file: string) => readFileSync(join(root, "infra", file), "utf8");

const labels = z.record(z.string(), z.string());
const rule = z.strictObject({ alert: z.string(), expr: z.string(), for: z.string().optional(), labels, annotations: labels });
const rulesFile = z.object({ groups: z.array(z.object({ rules: z.array(rule) })) });

export function readRules(): z.infer<typeof rule>[] {
  return rulesFile.parse(parse(read("prometheus/alerts.yml"))).groups.flatMap(({ rules }) => rules);
}

const ruleTest = z.object({ alert_rule_test: z.array(z.object({ alertname: z.string(), exp_alerts: z.array(z.unknown()) })).default([]) });
const ruleTestFile = z.object({ tests: z.array(ruleTest) });

export function readRuleTests(): z.infer<typeof ruleTest>[] {
  return ruleTestFile.parse(parse(read("prometheus/alerts.test.yml"))).tests;
}

const datasource = z.object({ type: z.literal("prometheus"), uid: z.string() });
const target = z.object({ refId: z.string(), expr: z.string(), datasource });
const panel = z.object({
  type: z.enum(["row", "stat", "timeseries"]),
  title: z.string(),
  gridPos: z.object({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
  datasource: datasource.optional(),
  targets: z.array(target).default([]),
});
const dashboard = z.object({ uid: z.string(), panels: z.array(panel) });

export function readPanels(): z.infer<typeof panel>[] {
  return dashboard.parse(JSON.parse(read("grafana/dashboard.json"))).panels;
}

export function dashboardExpressions(): { readonly title: string; readonly expr: string }[] {
  return readPanels().flatMap(({ title, targets }) => targets.map(({ expr }) => ({ title, expr })));
}

/** Names of our metrics in an expression, without a histogram's suffix. */
export function metricsIn(expr: string): string[] {
  return [...expr.matchAll(/\bflamboyance_\w+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, ""));
}

/** Names that the apps define. */
export function metricsDefined(): Set<string> {
  const sources = ["api", "worker"].map((app) => readFileSync(join(root, "apps", app, "src/metrics.ts"), "utf8"));
  return new Set(sources.flatMap((text) => [...text.matchAll(/name: "(flamboyance_\w+)"/g)].map((match) => match[1] ?? "")));
}
