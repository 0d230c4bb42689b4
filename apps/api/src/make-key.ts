/** `node make-key.ts --tenant demo --buckets 'demo-*'`: prints a new key once, and the entry for FLAMBOYANCE_KEYS. */
import { parseArgs } from "node:util";
import { newKey } from "./tenant-keys.ts";

const usage = `Makes a bearer key: prints the key once, and the entry for FLAMBOYANCE_KEYS.

  --tenant <name>      whose key it is
  --name <name>        which of the tenant's keys (default: main)
  --buckets <patterns> buckets the tenant may use, with commas between: demo-*,photos
  --json               one JSON object {key, entry}`;

try {
  const { values } = parseArgs({
    options: {
      tenant: { type: "string" },
      name: { type: "string", default: "main" },
      buckets: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) console.log(usage);
  else if (values.tenant === undefined || values.buckets === undefined) throw new Error("--tenant and --buckets are needed");
  else {
    const made = newKey(values.tenant, values.name, values.buckets.split(","));
    if (values.json) console.log(JSON.stringify(made));
    else console.log(`key (shown only now): ${made.key}\nentry for FLAMBOYANCE_KEYS: ${JSON.stringify(made.entry)}`);
  }
} catch (error) {
  console.error(`make-key: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 2;
}
