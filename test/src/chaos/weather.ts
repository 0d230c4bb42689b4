/** S3's weather: how the development server treats requests while it is bad. Owns the shares of each kind of fault; the server does them. */
import type { startTestServer } from "@flamboyance/dev/s3";
import { chanceOf } from "@flamboyance/dev/chance";

type BadWeather = "SlowDown" | "InternalError" | "reset" | "lostAnswer" | "slow" | "cutBody";
type Faults = NonNullable<NonNullable<Parameters<typeof startTestServer>[0]>["faults"]>;

export interface Weather {
  readonly faults: Faults;
  /** So many of the requests meet a fault, until `end`. */
  begin(share: number, seed: number): void;
  end(): void;
  /** Faults done since the last begin. */
  done(): number;
}

export function openWeather(): Weather {
  let bad: ReturnType<typeof chanceOf> | null = null;
  let share = 0;
  let done = 0;
  return {
    faults: ({ method }) => {
      if (bad === null || bad.next() >= share) return null;
      done += 1;
      const kind = bad.one<BadWeather>(["SlowDown", "InternalError", "reset", "lostAnswer", "slow", "cutBody"]);
      switch (kind) {
        case "SlowDown":
        case "InternalError":
          return { kind: "error", code: kind };
        case "slow":
          return { kind, byMs: bad.between(50, 500) };
        // Only an answer with a body can be cut short.
        case "cutBody":
          return method === "GET" ? { kind, afterBytes: bad.between(0, 300) } : { kind: "reset" };
        default:
          return { kind };
      }
    },
    begin: (next, seed) => {
      share = next;
      done = 0;
      bad = chanceOf(seed);
    },
    end: () => void (bad = null),
    done: () => done,
  };
}
