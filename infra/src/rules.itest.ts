/** The alert rules by promtool: their form, the configuration that loads them, and each alert's own tests. */
import { describe, expect, it } from "vitest";
import { ask, findProgram } from "./programs.ts";
import { prometheusFolder } from "./rules.ts";

const promtool = findProgram("promtool");

describe.skipIf(promtool === null)("infra/prometheus, by promtool", () => {
  it.each([
    { what: "the rules", words: ["check", "rules", "alerts.yml"] },
    { what: "the configuration", words: ["check", "config", "prometheus.yml"] },
    { what: "each alert's tests", words: ["test", "rules", "alerts.test.yml"] },
  ])("finds nothing wrong in $what", { timeout: 180_000 }, async ({ words }) => {
    const answer = await ask(promtool ?? "", words, { cwd: prometheusFolder });
    expect(answer.code, answer.text).toBe(0);
    expect(answer.text).toContain("SUCCESS");
  });
});
