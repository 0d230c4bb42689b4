/** That the program in filter-bytes.ts is what filter.wat says. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import wabt from "wabt";

it("filter-bytes.ts is what filter.wat compiles to (`npm run wasm` writes it)", async () => {
  const compiler = await wabt();
  const program = compiler.parseWat("filter.wat", readFileSync(join(import.meta.dirname, "filter.wat"), "utf8"), { simd: true });
  program.validate();
  const { buffer } = program.toBinary({});
  program.destroy();
  const file = `/** filter.wat, compiled: committed, so that neither sources nor dist need a compiler. Written by \`npm run wasm\`, refuses to be edited. */
export const filterBytes =
  "${Buffer.from(buffer).toString("base64")}";
`;
  await expect(file).toMatchFileSnapshot("filter-bytes.ts");
});
