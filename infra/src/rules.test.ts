/** What must hold of alerts and dashboard beyond what promtool and Prometheus check. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { describe, expect, it } from "vitest";
import { loadAppConfig } from "./app-config.ts";
import { root } from "./root.ts";
import { dashboardExpressions, metricsDefined, metricsIn, readPanels, readRules, readRuleTests } from "./rules.ts";

const rules = readRules();

describe("infra/prometheus/alerts.yml", () => {
  it("gives each alert a severity, a summary and a section of the runbook, which holds no others", () => {
    const headings = [...readFileSync(join(root, "docs/runbook.md"), "utf8").matchAll(/^## (.+)$/gm)].map((match) => match[1]);
    expect(rules.map(({ alert }) => alert)).toEqual(headings);
    for (const { alert, labels, annotations } of rules) {
      expect(["critical", "warning"]).toContain(labels["severity"]);
      expect(annotations["summary"]).toMatch(/\.$/);
      expect(annotations["runbook"]).toBe(`docs/runbook.md#${alert.toLowerCase()}`);
    }
  });

  it("has, for each alert, a test that it fires and one that it stays silent", () => {
    const tests = readRuleTests().flatMap(({ alert_rule_test: cases }) => cases);
    for (const { alert } of rules) {
      const own = tests.filter(({ alertname }) => alertname === alert).map(({ exp_alerts }) => exp_alerts.length > 0);
      expect(new Set(own), alert).toEqual(new Set([true, false]));
    }
  });

  it("asks only for metrics that the apps define", () => {
    const defined = metricsDefined();
    const asked = rules.flatMap(({ expr }) => metricsIn(expr));
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.filter((name) => !defined.has(name))).toEqual([]);
  });
});

describe("docs/runbook.md", () => {
  const text = readFileSync(join(root, "docs/runbook.md"), "utf8");

  it("names panels that the dashboard has", () => {
    const titles = new Set(readPanels().map(({ title }) => title));
    const named = [...text.matchAll(/"([A-Z][^"]+)"/g)].map((match) => match[1] ?? "").filter((title) => title !== "Flamboyance");
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((title) => !titles.has(title))).toEqual([]);
  });

  it("names variables that the apps read", async () => {
    const tables = await Promise.all([loadAppConfig("api"), loadAppConfig("worker")]);
    // The last one is the command line's.
    const read = new Set([...tables.flatMap((app) => app.configurationTable().map(({ name }) => name)), "FLAMBOYANCE_URL"]);
    const named = [...text.matchAll(/`(FLAMBOYANCE_[A-Z0-9_]+)`/g)].map((match) => match[1] ?? "");
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => !read.has(name))).toEqual([]);
  });
});

describe("infra/grafana", () => {
  const panels = readPanels();

  it("shows every metric of ours that an operator reads over time", () => {
    const shown = new Set(dashboardExpressions().flatMap(({ expr }) => metricsIn(expr)));
    // Repairs are rare: the runbook's matter, and an empty panel most of the time.
    expect([...metricsDefined()].filter((name) => !shown.has(name))).toEqual(["flamboyance_repairs_total"]);
    expect([...shown].filter((name) => !metricsDefined().has(name))).toEqual([]);
  });

  it("asks the provisioned data source everywhere", () => {
    const { datasources } = parse(readFileSync(join(root, "infra/grafana/provisioning/datasources/prometheus.yaml"), "utf8")) as {
      datasources: readonly { uid: string }[];
    };
    const asked = panels.flatMap(({ datasource, targets }) => [datasource, ...targets.map((target) => target.datasource)]);
    expect(new Set(asked.flatMap((source) => (source === undefined ? [] : [source.uid])))).toEqual(
      new Set(datasources.map(({ uid }) => uid)),
    );
  });

  it("lays no panel over another, and none past the edge", () => {
    for (const [position, { title, gridPos: a }] of panels.entries()) {
      expect(a.x + a.w, title).toBeLessThanOrEqual(24);
      const over = panels
        .slice(position + 1)
        .filter(({ gridPos: b }) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h);
      expect(over.map((panel) => `${title} × ${panel.title}`)).toEqual([]);
    }
  });
});
