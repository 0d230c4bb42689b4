/**
 * The two kinds of tests: `unit` (beside the sources, nothing started, quick) and `integration` (*.itest.ts: whole models, Redis, S3, processes).
 * Workspace packages are read from their sources, so no test needs a build.
 */
import { availableParallelism } from "node:os";
import { defaultExclude, defineConfig } from "vitest/config";

const source = "@flamboyance/source";
const shared = {
  resolve: { conditions: [source] },
  ssr: { resolve: { conditions: [source], externalConditions: [source] } },
};
const exclude = [...defaultExclude, "**/dist/**"];
// Workers and child processes that tests start must find the sources too.
const execArgv = [`--conditions=${source}`];

export default defineConfig({
  test: {
    pool: "forks",
    // Many tests start processes of their own: more forks than cores, or than four, only make each other slow.
    maxWorkers: Math.min(4, availableParallelism()),
    ...(process.env["CI"] === undefined ? {} : { reporters: ["default", "json"], outputFile: { json: ".ci/totals.json" } }),
    projects: [
      {
        ...shared,
        test: {
          name: "unit",
          include: ["**/src/**/*.test.ts", "packages/model/demo/*.test.ts"],
          exclude,
          execArgv,
          testTimeout: 10_000,
          hookTimeout: 10_000,
        },
      },
      {
        ...shared,
        test: {
          name: "integration",
          include: ["**/*.itest.ts"],
          exclude,
          execArgv,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
