/**
 * How long tensors live: until the run ends, or as long as an owner that is named. Owns who holds what; refuses to know what giving back means, which is
 * the memory's that they lie in.
 */
export interface Lives {
  /** What `owner` holds is given back when keepOnly doesn't name it. */
  hold(owner: object, giveBack: () => void): void;
  /** Given back at the end of the run; named twice, once. */
  holdForRun(owner: object, giveBack: () => void): void;
  endRun(): void;
  keepOnly(owners: Iterable<object>): void;
}

export function openLives(): Lives {
  const held = new Map<object, () => void>();
  const passing = new Map<object, () => void>();
  return {
    hold: (owner, giveBack) => held.set(owner, giveBack),
    holdForRun: (owner, giveBack) => passing.set(owner, giveBack),
    endRun: () => {
      const ended = [...passing.values()];
      passing.clear();
      for (const giveBack of ended) giveBack();
    },
    keepOnly: (owners) => {
      const live = new Set(owners);
      for (const [owner, giveBack] of held) {
        if (live.has(owner)) continue;
        held.delete(owner);
        giveBack();
      }
    },
  };
}

/** Gives an array's memory back at once: the collector sees small objects, and lets a gigabyte of arrays gather behind them. Whoever still has the array has an empty one. */
export function free({ buffer }: Float32Array): void {
  if (buffer instanceof ArrayBuffer && !buffer.detached) buffer.transfer(0);
}
