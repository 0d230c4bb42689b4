import type { Tenant } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { readTenant } from "./tenants.ts";

const birds = {
  tenant: "birds",
  weight: 3,
  quotas: { running_batches: 20, stored_bytes: 1_000 },
  read: ["photos"],
  write: ["results"],
  credentials: [{ buckets: ["photos"], secret: "birds" }],
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is looked at of a tenant
} as unknown as Tenant;

it("keeps of a tenant what no flag says", async () => {
  const { weight, quotas, read, write, credentials } = birds;
  expect(await readTenant({ storedBytes: 5_000 }, () => Promise.resolve(birds))).toEqual({
    weight,
    quotas: { ...quotas, stored_bytes: 5_000 },
    read,
    write,
    credentials,
  });
  expect((await readTenant({ read: ["other"] }, () => Promise.resolve(birds))).read).toEqual(["other"]);
});

it("begins a new one, or one that is replaced, with what the flags say alone", async () => {
  expect(await readTenant({ read: ["photos"] }, () => Promise.resolve(null))).toEqual({
    quotas: {},
    read: ["photos"],
    write: [],
    credentials: [],
  });
});
