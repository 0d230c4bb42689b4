/**
 * One thread of a process on its device: the runtime's WebGPU is one for the whole process, and ends it where two living threads use it. Owns who has it;
 * refuses to know for what. A claim ends with its thread: whoever started the thread gives it back when it has ended, and not before.
 */
import { threadId } from "node:worker_threads";

/** For all threads of a process that may open models on its device. */
export type DeviceClaims = SharedArrayBuffer;

const nobody = 0;

export function newDeviceClaims(): DeviceClaims {
  return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
}

/** Takes the device for this thread; false where another has it. May be called again. */
export function claimDevice(claims: DeviceClaims): boolean {
  // The main thread's id is 0.
  const own = threadId + 1;
  return [nobody, own].includes(Atomics.compareExchange(new Int32Array(claims), 0, nobody, own));
}

/** After a thread's end. */
export function endDeviceClaim(claims: DeviceClaims, endedThreadId: number): void {
  Atomics.compareExchange(new Int32Array(claims), 0, endedThreadId + 1, nobody);
}
