/** A device's memory holds what the host's does, whatever joins, grows and leaves. Its arrangements run on the CPU here: the graph is the same. */
import { describe, expect, it } from "vitest";
import type { KeptTensor, OutputTensor } from "../session.ts";
import { cpuDevice } from "../testing/cpu-device.ts";
import { openDeviceMemory } from "./device-memory.ts";
import { hostMemory } from "./host-memory.ts";
import type { LayerTensors } from "./memory.ts";
import { Pool } from "./pool.ts";
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
const tensor = (shape: readonly number[]): OutputTensor => {
  const count = shape.reduce((product, length) => product * length, 1);
  return { type: "float32", data: Float32Array.from({ length: count }, () => ++last), shape };
};
const media = () => ({ keys: [tensor([1, 2, 2, 2])], values: [tensor([1, 2, 2, 2])], sizeBytes: 64 });
const entries = (groups: number, groupTokens: number) => {
  const shape = [groups, 2, groupTokens, 3];
  return { keys: [tensor(shape), tensor(shape)], values: [tensor(shape), tensor(shape)], groupTokens };
};

type Read = (tensor: KeptTensor) => OutputTensor;
const onHost: Read = (found) => {
  if (found.type === "device") throw new Error("the tensor lies on a device");
  return found;
};
const plain = ({ keys, values }: LayerTensors, read: Read) => [...keys, ...values].map((each) => [each.shape, [...read(each).data]]);

/** Everything that a run would see of a pool, without spare room and without the rows of zeros that each head's values must have `inFront`. */
async function seen(pool: Pool, read: Read, inFront: number) {
  const slots = Array.from({ length: pool.groups }, (_, slot) => slot);
  const found = [];
  for (const slot of slots) {
    const { keys, values } = await pool.entriesOf(slot);
    const rows = values.flatMap((each) => rowsOf(read(each)));
    expect(
      rows.every((head) =>
        head
          .slice(0, inFront)
          .flat()
          .every((number) => number === 0),
      ),
    ).toBe(true);
    const own = rows.map((head) => head.slice(inFront));
    found.push({
      keys: keys.flatMap((each) => rowsOf(read(each))),
      values: own,
      media: plain(await pool.tensors.media(slot, slot + 1), read),
    });
  }
  return found;
}

/** By head: (heads, rows, headWidth). */
function rowsOf({ data, shape: [heads = 0, rows = 0, width = 0] }: OutputTensor): number[][][] {
  const numbers = [...data];
  const rowAt = (row: number): number[] => numbers.slice(row * width, (row + 1) * width);
  return Array.from({ length: heads }, (_, head) => Array.from({ length: rows }, (__, row) => rowAt(head * rows + row)));
}

async function openedDevice() {
  const device = cpuDevice();
  return { device, memory: await openDeviceMemory(sizes, (graph) => device.openSession(graph, "all")) };
}

describe("a device's memory", () => {
  it("holds the entries and media that the host's holds", async () => {
    const { device, memory } = await openedDevice();
    const pools = [new Pool(hostMemory(sizes), 2, 0), new Pool(memory, 2, 0)] as const;
    const both = (work: (pool: Pool) => void): void => pools.forEach(work);
    const agree = async (): Promise<void> => {
      expect(await seen(pools[1], device.read, 1)).toEqual(await seen(pools[0], onHost, 0));
      memory.endRun();
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
    await memory.release();
  });

  it("gives the same inputs as the host's for a part of the groups", async () => {
    const { device, memory: onDevice } = await openedDevice();
    const inputs = [];
    const prompts = entries(3, 16);
    const own = [media(), media(), media()];
    for (const memory of [hostMemory(sizes), onDevice]) {
      const pool = new Pool(memory, 1, 5);
      for (const each of own) pool.add(each);
      [16, 3, 9].forEach((count, slot) => pool.append(slot, prompts, slot, [count]));
      const { keys, values } = await pool.tensors.media(1, 3);
      const found = [...Object.values(await pool.inputs(1, 3, 1)), ...keys, ...values];
      inputs.push(found.map((input) => (input.type === "device" ? device.read(input) : input)));
    }
    expect(inputs[1]).toEqual(inputs[0]);
    await onDevice.release();
  });

  it("joins several media of a group along the latents, zeros behind the last, as the host's does", async () => {
    const { device, memory } = await openedDevice();
    const [one, two] = [media(), media()];
    const lists = [[one, two, one], [], [two]];
    expect(plain(await memory.joinMedia(lists), device.read)).toEqual(plain(await hostMemory(sizes).joinMedia(lists), onHost));
    await memory.release();
  });

  it("disposes a run's K and V once they are put in order, and what a pool has not put in order when it goes", async () => {
    const { device, memory } = await openedDevice();
    const idle = device.figures().tensors;
    const onDevice = <Tensors extends { readonly keys: readonly OutputTensor[]; readonly values: readonly OutputTensor[] }>(
      made: Tensors,
    ) => ({
      ...made,
      keys: made.keys.map(device.hold),
      values: made.values.map(device.hold),
    });
    const isHeld = ({ keys, values }: LayerTensors): boolean[] => [...keys, ...values].map(device.isHeld);
    const [shown, prompts, steps] = [onDevice(media()), onDevice(entries(2, 4)), onDevice(entries(2, 1))];
    memory.hold(shown, shown);
    const pool = new Pool(memory, 1, 0);
    for (const slot of [0, 1]) {
      pool.add(shown);
      pool.append(slot, prompts, slot, [3 + slot]);
    }
    expect(isHeld(prompts)).toEqual([true, true, true, true]);
    await pool.inputs(0, 2, 1);
    await pool.tensors.media(0, 2);
    expect(isHeld(prompts)).toEqual([false, false, false, false]);
    // A media has an owner of its own, and other groups may come to see it.
    expect(isHeld(shown)).toEqual([true, true]);

    pool.append(0, steps, 0, [1]);
    memory.keepOnly([shown, pool.tensors]);
    expect(isHeld(steps)).toEqual([true, true, true, true]);
    memory.keepOnly([shown]);
    expect(isHeld(steps)).toEqual([false, false, false, false]);
    memory.keepOnly([]);
    expect(device.figures().tensors).toBe(idle);
    await memory.release();
    expect([device.figures().tensors, device.openSessions()]).toEqual([0, 0]);
  });

  it("leaves no session behind where the second can't be opened", async () => {
    const device = cpuDevice();
    const opening = openDeviceMemory(sizes, (graph) =>
      device.openSessions() === 1 ? Promise.reject(new Error("no room")) : device.openSession(graph, "all"),
    );
    await expect(opening).rejects.toThrow("no room");
    expect(device.openSessions()).toBe(0);
  });

  it("knows no slot that no group stands in", async () => {
    const { memory } = await openedDevice();
    const pool = memory.openPool();
    pool.add(null);
    expect(() => pool.append(1, entries(1, 1), 0, [1], [0])).toThrow(RangeError);
    expect(() => pool.remove(1)).toThrow(RangeError);
    await memory.release();
  });

  it("disposes what no owner named by keepOnly holds, once", async () => {
    const { memory } = await openedDevice();
    const disposed: string[] = [];
    const onDevice = (name: string): LayerTensors => ({
      keys: [{ type: "device", shape: [1], dispose: () => disposed.push(name) }],
      values: [],
    });
    const [kept, dropped] = [{}, {}];
    memory.hold(kept, onDevice("kept"));
    memory.hold(dropped, onDevice("dropped"));
    memory.keepOnly([kept]);
    memory.keepOnly([kept]);
    expect(disposed).toEqual(["dropped"]);
    memory.keepOnly([]);
    expect(disposed).toEqual(["dropped", "kept"]);
    await memory.release();
  });
});
