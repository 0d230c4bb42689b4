import type { DryRunReport } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { formatReport } from "./report.ts";

const report: DryRunReport = {
  object: "batch.report",
  batch_id: "batch_1",
  lines: 12,
  items: 10,
  refused: 2,
  would_fail: true,
  errors: [
    { code: "invalid_line", message: "doesn't fit", param: "image", line: 3 },
    { code: "ragged_row", message: "the row has 1 cells", param: null, line: 7 },
  ],
  more_errors: 0,
  codes: { invalid_line: 1, ragged_row: 1 },
  sample: {
    images: 10,
    found: 9,
    mean_bytes: 123_456,
    decoded: 8,
    problems: [{ custom_id: "a\nb", image: "s3://photos/a", code: "image_not_found", message: "there is no s3://photos/a" }],
  },
  estimate: { image_bytes: 1_234_560, items_per_second: 0.5, seconds: 20 },
};

it("shows lines, images, bytes, time, and each fault", () => {
  expect(formatReport(report)).toBe(`lines   10 items, 2 refused (1 invalid_line, 1 ragged_row)
images  9 of 10 looked for are there, 8 were decoded
bytes   about 1.2 MB in all
time    about 20 s, at 0.500 items a second
so      it would fail over its refused lines (--on-invalid skip runs the rest)
  line 3: image: doesn't fit (invalid_line)
  line 7: the row has 1 cells (ragged_row)
  a b: there is no s3://photos/a (image_not_found)
`);
});

it("says what isn't known, and how many more there are", () => {
  const errors = Array.from({ length: 30 }, (_, at) => ({ code: "ragged_row", message: "short", param: null, line: at + 2 }));
  const text = formatReport({
    ...report,
    refused: 900,
    errors,
    would_fail: false,
    estimate: { image_bytes: null, items_per_second: null, seconds: null },
  });
  expect(text).toContain("time    unknown");
  expect(text).not.toContain("bytes");
  expect(text).toContain("so      it would run\n");
  expect(text).toContain("line 21:");
  expect(text).not.toContain("line 22:");
  expect(text).toContain("  and 880 more");
});
