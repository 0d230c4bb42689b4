import { describe, expect, it } from "vitest";
import { backoffMs, pause, sdkRetryStrategy } from "./retry.ts";

describe("backoff", () => {
  it("grows, and is capped", () => {
    const longest = (retry: number) => Math.max(...Array.from({ length: 2_000 }, () => backoffMs(retry)));
    expect(longest(1)).toBeLessThanOrEqual(100);
    expect(longest(3)).toBeLessThanOrEqual(400);
    expect(longest(3)).toBeGreaterThan(200);
    expect(longest(50)).toBeLessThanOrEqual(2_000);
  });

  it("ends with the signal", async () => {
    await expect(pause(60_000, AbortSignal.abort("shutdown"))).rejects.toMatchObject({ code: "aborted", cause: "shutdown" });
  });
});

describe("the SDK's retries", () => {
  const passing = { errorType: "SERVER_ERROR" as const, error: { name: "SlowDown", message: "", $metadata: { httpStatusCode: 503 } } };
  const refusal = { errorType: "CLIENT_ERROR" as const, error: { name: "AccessDenied", message: "", $metadata: { httpStatusCode: 403 } } };
  const strategy = (retries: number) => {
    const made = sdkRetryStrategy(retries);
    if (!("acquireInitialRetryToken" in made)) throw new Error("another kind of strategy");
    return made;
  };

  it("are so many, and no more", async () => {
    const made = strategy(2);
    const first = await made.refreshRetryTokenForRetry(await made.acquireInitialRetryToken(""), passing);
    const second = await made.refreshRetryTokenForRetry(first, passing);
    expect([first.getRetryCount(), second.getRetryCount()]).toEqual([1, 2]);
    await expect(made.refreshRetryTokenForRetry(second, passing)).rejects.toThrow();
  });

  it("are none for a refusal", async () => {
    const made = strategy(2);
    await expect(made.refreshRetryTokenForRetry(await made.acquireInitialRetryToken(""), refusal)).rejects.toThrow();
  });

  it("wait as long as the server asks for, up to the cap", async () => {
    const made = strategy(2);
    const hint = (milliseconds: number) => ({ ...passing, retryAfterHint: new Date(Date.now() + milliseconds) });
    const token = await made.acquireInitialRetryToken("");
    expect((await made.refreshRetryTokenForRetry(token, hint(1_500))).getRetryDelay()).toBeGreaterThan(1_000);
    expect((await made.refreshRetryTokenForRetry(token, hint(60_000))).getRetryDelay()).toBeLessThanOrEqual(2_000);
  });
});
