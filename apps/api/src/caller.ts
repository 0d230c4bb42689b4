/** Who is calling, once the key is recognised, and what that key may do. */
import { accessOf, type Access, type Quotas, type Scope, type TenantKey } from "@flamboyance/contracts";

export interface Caller {
  readonly tenant: string;
  /** Of the key, for logs and limits: its id, or the name of one that the configuration holds. Never the key. */
  readonly key: string;
  readonly scopes: readonly Scope[];
  readonly access: Access;
  /** The tenant's share of the workers. */
  readonly weight: number;
  /** What the tenant may have at once. */
  readonly quotas: Quotas;
}

/** Of a key that the configuration holds. */
export function configuredCaller(entry: TenantKey): Caller {
  const { tenant, name, scopes, weight, quotas } = entry;
  return { tenant, key: `${tenant}/${name}`, scopes, weight, quotas, access: accessOf(entry) };
}
