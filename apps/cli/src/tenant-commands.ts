/** The commands of those who say who may call: tenants and their keys. Owns their flags, help and examples; how they are read and shown lies in tenants.ts. */
import { FlamboyanceError } from "@flamboyance/client";
import type { NewApiKey, Scope } from "@flamboyance/contracts";
import { Option } from "commander";
import { atLeastOne, bytes, wholeNumber } from "./flag-number.ts";
import type { CommonFlags, Shell } from "./shell.ts";
import {
  bootstrapKey,
  formatKeys,
  formatNewKey,
  formatTenant,
  formatTenants,
  readDuration,
  readTenant,
  scopeNames,
  type BootstrapFlags,
  type TenantFlags,
} from "./tenants.ts";

export function addTenantCommands({ program, terminal: { signal }, command, remote, clientOf, columns, say, line }: Shell): void {
  const tenant = program.command("tenant").description("Whose batches may be run, and what they may touch: with a key of the scope admin.");
  remote(
    tenant,
    "set",
    "Say what a tenant may read and write, its share of the workers and its quotas; what no flag says stays as it was.",
    "flamboyance tenant set birds --read 'birds-*' 'photos/2024/' 'https://images.example.com' --write birds-results\nflamboyance tenant set birds --read 'birds-*' --credentials birds.json --weight 3 --running-batches 20 --items-queued 1000000\nflamboyance tenant set birds --stored-bytes 500GB\nflamboyance tenant set birds --replace --read 'birds-*'",
  )
    .argument("<name>", "the tenant")
    .option("--read <pattern...>", "what may be read: a bucket, bucket/folder/, https://host; * stands for any characters of a name")
    .option("--write <pattern...>", "where results may be copied: a bucket, bucket/folder/")
    .option("--credentials <path>", "whose keys open which buckets: a JSON list of {buckets, secret, endpoint, region, path_style}")
    .option("--weight <number>", "its share of the workers, 1 to 100 (1)", wholeNumber)
    .option("--running-batches <number>", "quota: batches that haven't ended, at once", atLeastOne)
    .option("--items-queued <number>", "quota: items of these that have no line yet", atLeastOne)
    .option("--stored-bytes <bytes>", "quota: what its batches keep in the service's bucket until they are deleted, as 500GB", bytes)
    .option("--replace", "take away whatever no flag says", false)
    .action(async (name: string, flags: CommonFlags & TenantFlags & { readonly replace: boolean }) => {
      const { tenants } = clientOf(flags);
      const standing = () => (flags.replace ? Promise.resolve(null) : tenants.get(name, { signal }).catch(nullIfMissing));
      const put = await tenants.put(name, await readTenant(flags, standing), { signal });
      await (flags.json === true ? line(put) : say(formatTenant(put)));
    });
  remote(tenant, "show", "Show one tenant.", "flamboyance tenant show birds")
    .argument("<name>", "the tenant")
    .action(async (name: string, flags: CommonFlags) => {
      const found = await clientOf(flags).tenants.get(name, { signal });
      await (flags.json === true ? line(found) : say(formatTenant(found)));
    });
  remote(tenant, "list", "List the tenants.", "flamboyance tenant list --json").action(async (flags: CommonFlags) => {
    const tenants = await Array.fromAsync(clientOf(flags).tenants.all({ signal }));
    if (flags.json === true) for (const each of tenants) await line(each);
    else await say(formatTenants(tenants, columns()));
  });

  const key = program.command("key").description("Keys to call the service with: with a key of the scope admin.");
  const made = (flags: CommonFlags, found: NewApiKey) => (flags.json === true ? line(found) : say(formatNewKey(found)));
  const scopesFlag = () =>
    new Option("--scopes <scope...>", "what it may do: read, submit, control, admin (read submit control)").choices(scopeNames);
  remote(
    key,
    "create",
    "Make a key of a tenant: shown once, here; the service keeps its hash.",
    "flamboyance key create --tenant birds\nflamboyance key create --tenant birds --name dashboard --scopes read --expires-in 90d",
  )
    .requiredOption("--tenant <name>", "whose key it is")
    .option("--name <name>", "which of the tenant's keys", "main")
    .addOption(scopesFlag())
    .option("--expires-in <time>", "ends by itself, as 90d (never)")
    .action(async (flags: CommonFlags & { tenant: string; name: string; scopes?: Scope[]; expiresIn?: string }) => {
      const facts = {
        tenant: flags.tenant,
        name: flags.name,
        ...(flags.scopes === undefined ? {} : { scopes: flags.scopes }),
        ...(flags.expiresIn === undefined ? {} : { expires_in: readDuration("--expires-in", flags.expiresIn) }),
      };
      await made(flags, await clientOf(flags).keys.create(facts, { signal }));
    });
  remote(key, "list", "List keys by tenant and age; never the keys themselves.", "flamboyance key list --tenant birds")
    .option("--tenant <name>", "only this tenant's")
    .action(async (flags: CommonFlags & { tenant?: string }) => {
      const keys = await Array.fromAsync(clientOf(flags).keys.all({ tenant: flags.tenant, signal }));
      if (flags.json === true) for (const each of keys) await line(each);
      else await say(formatKeys(keys, columns()));
    });
  remote(
    key,
    "rotate",
    "Make a key in the place of this one, which ends after a grace.",
    "flamboyance key rotate birds_01k… --grace 2h\nflamboyance key rotate birds_01k… --grace 0s",
  )
    .argument("<id>", "the key's id")
    .option("--grace <time>", "how long the old one is still good, up to 30d", "24h")
    .action(async (id: string, flags: CommonFlags & { grace: string }) =>
      made(flags, await clientOf(flags).keys.rotate(id, { grace: readDuration("--grace", flags.grace) }, { signal })),
    );
  remote(key, "revoke", "End a key for good, within seconds everywhere.", "flamboyance key revoke birds_01k…")
    .argument("<id>", "the key's id")
    .action(async (id: string, flags: CommonFlags) => {
      const revoked = await clientOf(flags).keys.revoke(id, { signal });
      await (flags.json === true ? line(revoked) : say(`${revoked.id} revoked\n`));
    });
  command(
    key,
    "bootstrap",
    "Make a key without a service, shown once, here; the entry with its hash goes into the api's FLAMBOYANCE_KEYS.",
    "flamboyance key bootstrap --tenant operators --scopes admin\nflamboyance key bootstrap --tenant me --buckets images results",
  )
    .requiredOption("--tenant <name>", "whose key it is")
    .option("--name <name>", "which of the tenant's keys", "main")
    .addOption(scopesFlag())
    .option("--buckets <pattern...>", "what the tenant may read and write; * stands for any characters of a bucket's name")
    .action(async (flags: BootstrapFlags & { json?: boolean }) => {
      const { key: text, entry } = await bootstrapKey(flags);
      if (flags.json === true) await line({ key: text, entry });
      else await say(`key, shown only now:       ${text}\nentry for FLAMBOYANCE_KEYS: ${JSON.stringify(entry)}\n`);
    });
}

function nullIfMissing(error: unknown): null {
  if (error instanceof FlamboyanceError && error.code === "not_found") return null;
  throw error;
}
