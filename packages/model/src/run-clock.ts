/** How long sessions have run: what of a model's time is the runtime's, and not the host's own. */
import type { Session } from "./session.ts";

export interface RunClock {
  runMs: number;
}

/** The session, whose runs the clock counts, those that fail too. */
export function clocked(session: Session, clock: RunClock): Session {
  return {
    ...session,
    run: async (inputs, outputs, kept) => {
      const started = performance.now();
      try {
        return await session.run(inputs, outputs, kept);
      } finally {
        clock.runMs += performance.now() - started;
      }
    },
  };
}
