/**
 * Cancel, pause, resume, priority, deadline: take a number, write the control object, then let the queue decide. The order makes a control outlive the loss of Redis.
 * Refuses what the batch's status doesn't allow, with `conflict`. Any but a cancel that a later one overtook is no failure: both were under way at
 * once, and the batch stands as the later one left it.
 */
import { CodedError, completionWindowSeconds, shownStatus, type Control, type RecordStatus } from "@flamboyance/contracts";
import type { BatchRecord, CancelAnswer, ControlAnswer, Queue } from "@flamboyance/queue";
import { newUlid } from "@flamboyance/queue";
import { batchKeys, type Storage } from "@flamboyance/storage";

type Kind = Control["kind"];

/** Safe to call again. */
export async function controlBatch(
  { queue, storage, bucket }: { readonly queue: Queue; readonly storage: Storage; readonly bucket: string },
  control: Control,
  { id, status, createdAt }: BatchRecord,
  signal: AbortSignal,
): Promise<void> {
  const { kind } = control;
  if (control.kind === "deadline" && deadlineOf(control, createdAt) <= (await queue.now())) {
    const message = `completion_window: ${control.completion_window} after the submit has passed already; a batch is stopped by a cancel.`;
    throw new CodedError("invalid_request", message, { param: "completion_window" });
  }
  // Nothing undoes a cancel, so one is enough. A pause of a paused batch takes a number all the same: it holds off a resume that is still on its way.
  if (kind === "cancel" && status === "cancelling") return;
  const taken = await queue.takeNumber({ id, kind });
  if (taken.kind === "conflict") throw conflict(kind, id, taken.status);
  if (taken.kind === "gone") throw rebuilding(id);
  const { number } = taken;
  const key = batchKeys(id).control(number, newUlid());
  await storage.write({ bucket, key }, JSON.stringify(control), { contentType: "application/json", signal });
  const answer = await apply(queue, control, { id, number, createdAt });
  if (answer.kind === "conflict") throw conflict(kind, id, answer.status);
  if (answer.kind === "gone") throw rebuilding(id);
}

/** What a control sets going at once. It stands without this, and reconcile does the same. */
export async function followControl(queue: Queue, { kind }: Control, { id, status, model }: BatchRecord): Promise<void> {
  // No chunk of it runs that its seal would wait for.
  if (kind === "cancel" && status === "validating") await queue.repair(id);
  if (kind === "resume") await queue.dispatch(model.key);
}

export function conflict(kind: keyof typeof reasons, id: string, status: RecordStatus): CodedError {
  return new CodedError("conflict", `${id} is ${shownStatus(status)}: ${reasons[kind]}.`);
}

function apply(
  queue: Queue,
  control: Control,
  { createdAt, ...step }: { readonly id: string; readonly number: number; readonly createdAt: number },
): Promise<CancelAnswer | ControlAnswer> {
  switch (control.kind) {
    case "cancel":
      return queue.applyCancel(step);
    case "pause":
      return queue.applyPause(step);
    case "resume":
      return queue.applyResume({ ...step, lifts: control.lifts !== undefined });
    case "priority":
      return queue.applyPriority({ ...step, priority: control.priority });
    case "deadline": {
      const { completion_window: completionWindow } = control;
      return queue.applyDeadline({ ...step, completionWindow, expiresAt: deadlineOf(control, createdAt) });
    }
  }
}

/** In Unix seconds. */
function deadlineOf({ completion_window }: Extract<Control, { kind: "deadline" }>, createdAt: number): number {
  return createdAt + completionWindowSeconds(completion_window);
}

const reasons = {
  cancel: "it can't be cancelled any more",
  pause: "only a batch in progress can be paused",
  resume: "only a paused batch can be resumed",
  priority: "nothing of it is left to begin",
  deadline: "its deadline decides nothing any more",
  retry: "only a batch that has ended can be retried",
  delete: "only a batch that has ended can be deleted; cancel it first",
  errors: "its errors are counted at its end; until then its results have them",
} as const satisfies Readonly<Record<Kind | "retry" | "delete" | "errors", string>>;

function rebuilding(id: string): CodedError {
  return new CodedError("service_unavailable", `${id} is being rebuilt.`);
}
