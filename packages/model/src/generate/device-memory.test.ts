/** A device's memory holds what the host's does, whatever joins, grows and leaves. Its arrangements run on the CPU here: the graph is the same. */
import { describe, expect, it } from "vitest";
import { openSession } from "../cpu-session.ts";
import type { KeptTensor } from "../session.ts";
import { openDeviceMemory } from "./device-memory.ts";
import { hostMemory } from "./host-memory.ts";
import type { LayerTensors, NewEntries } from "./memory.ts";
import { Pool } from "./pool.ts";
import type { EncodedMedia } from "./runner.ts";
import type { TensorSizes } from "./tensor-sizes.ts";

const sizes: TensorSizes = {
  layers: 2,
  heads: 2,
  headWidth: 3,
  vocabulary: 9,
  crossLayers: [1],
  crossHeads: 2,
  crossHeadWidth: 2,
  latents: 2,
  tokenBytes: 96,
  mediaBytes: 64,
};

let last = 0;
/** Numbers that no other tensor has. */
const tensor = (shape: readonly number[]): KeptTensor => {
  const count = shape.reduce((product, length) => product * length, 1);
  return { type: "float32", data: Float32Array.from({ length: count }, () => ++last), shape };
};
const media = (): EncodedMedia => ({ keys: [tensor([1, 2, 2, 2])], values: [tensor([1, 2, 2, 2])], sizeBytes: 64 });
const entries = (groups: number, groupTokens: number): NewEntries => {
  const shape = [groups, 2, groupTokens, 3];
  return { keys: [tensor(shape), tensor(shape)], values: [tensor(shape), tensor(shape)], groupTokens };
};
const numbers = (found: KeptTensor | undefined): number[] => (found?.type === "float32" ? [...found.data] : []);
const plain = ({ keys, values }: LayerTensors) => [...keys, ...values].map((each) => [each.shape, numbers(each)]);

/** Everything that a run would see of a pool, without spare room. */
async function seen(pool: Pool) {
  const slots = Array.from({ length: pool.groups }, (_, slot) => slot);
  const found = [];
  for (const slot of slots) {
    const { keys, values } = await pool.entriesOf(slot);
    const length = keys[0]?.shape[1] ?? 0;
    // A prefix's values may have rows of zeros in front.
    const own = values.map((each) => numbers(each).filter((number) => number !== 0));
    found.push({ length, keys: keys.map(numbers), values: own, media: plain(await pool.tensors.media(slot, slot + 1)) });
  }
  return found;
}

describe("a device's memory", () => {
  it("holds the entries and media that the host's holds", async () => {
    const device = await openDeviceMemory(sizes, (graph) => openSession(graph, { threads: 1 }));
    const pools = [new Pool(hostMemory(sizes), sizes, 2, 0), new Pool(device, sizes, 2, 0)] as const;
    const both = (work: (pool: Pool) => void): void => pools.forEach(work);
    const agree = async (): Promise<void> => {
      expect(await seen(pools[1])).toEqual(await seen(pools[0]));
      device.endRun();
    };
    const shared = media();
    for (const own of [shared, null, media(), shared]) both((pool) => void pool.add(own));
    const prompts = entries(4, 20);
    [7, 20, 1, 12].forEach((count, slot) => both((pool) => pool.append(slot, prompts, slot, [count])));
    await agree();

    // Two rows for each group, one of which is shorter; then one leaves, and another comes before anything ran.
    const steps = entries(4, 4);
    for (const slot of [0, 1, 2, 3]) both((pool) => pool.append(slot, steps, slot, [2, 1]));
    both((pool) => pool.remove(1));
    const late = media();
    both((pool) => void pool.add(late));
    await agree();

    // Both beams of a group go on from its second: what only the first has seen gives way.
    const next = entries(4, 2);
    both((pool) => pool.adopt(0, [1, 1]));
    both((pool) => pool.append(0, next, 2, [1, 1]));
    await agree();

    const more = entries(1, 30);
    both((pool) => pool.append(3, more, 0, [30]));
    both((pool) => pool.remove(0));
    await agree();
    await device.release();
  });

  it("gives the same inputs as the host's for a part of the groups", async () => {
    const device = await openDeviceMemory(sizes, (graph) => openSession(graph, { threads: 1 }));
    const inputs = [];
    const prompts = entries(3, 16);
    const own = [media(), media(), media()];
    for (const memory of [hostMemory(sizes), device]) {
      const pool = new Pool(memory, sizes, 1, 5);
      for (const each of own) pool.add(each);
      [16, 3, 9].forEach((count, slot) => pool.append(slot, prompts, slot, [count]));
      inputs.push({ ...(await pool.inputs(1, 3, 1)), ...(await pool.mediaInputs(1, 3)) });
    }
    expect(inputs[1]).toEqual(inputs[0]);
    await device.release();
  });

  it("joins several media of a group along the latents, zeros behind the last, as the host's does", async () => {
    const device = await openDeviceMemory(sizes, (graph) => openSession(graph, { threads: 1 }));
    const [one, two] = [media(), media()];
    const lists = [[one, two, one], [], [two]];
    expect(plain(await device.joinMedia(lists))).toEqual(plain(await hostMemory(sizes).joinMedia(lists)));
    await device.release();
  });

  it("disposes what no owner named by keepOnly holds, once", async () => {
    const device = await openDeviceMemory(sizes, (graph) => openSession(graph, { threads: 1 }));
    const disposed: string[] = [];
    const onDevice = (name: string): LayerTensors => ({
      keys: [{ type: "device", shape: [1], dispose: () => disposed.push(name) }],
      values: [],
    });
    const [kept, dropped] = [{}, {}];
    device.hold(kept, onDevice("kept"));
    device.hold(dropped, onDevice("dropped"));
    device.keepOnly([kept]);
    device.keepOnly([kept]);
    expect(disposed).toEqual(["dropped"]);
    device.keepOnly([]);
    expect(disposed).toEqual(["dropped", "kept"]);
    await device.release();
  });
});
