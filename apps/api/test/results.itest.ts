/** Results: in order, up to the confirmed frontier while the batch runs, over its end, and by status. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { callsOf } from "./calls.ts";
import { confirm, finish, linesOf, plan, record } from "./hand-worker.ts";
import { startService, type Answer, type Service } from "./service.ts";

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const { submitted } = callsOf(() => service);

it("take no word in the query that they don't know: one that is misspelt would pass for none", async () => {
  const id = await submitted();
  for (const path of [`/v1/batches/${id}/results?linage=true`, `/v1/batches/${id}/errors?linage=true`, "/v1/batches?foo=1"])
    expect(await service.ask(path)).toMatchObject({
      status: 400,
      body: { error: { code: "invalid_request", message: expect.stringMatching(/^(linage|foo): is not a known field/) } },
    });
});

describe("results", () => {
  const idsOf = (page: Answer): string[] => page.body.data.map((line: { id: string }) => line.id);

  it("are given in order up to the confirmed frontier, and go on where the cursor stopped, over the end", async () => {
    const id = await submitted();
    const made = await plan(
      service,
      id,
      [2, 3, 1, 2],
      [
        [1, 0],
        [5, 3],
        [20, 8],
      ],
    );
    const lines = linesOf(made).map((line) => line.id);
    const read = (after: string | null, more = "") =>
      service.ask(`/v1/batches/${id}/results?limit=2${after === null ? "" : `&after=${after}`}${more}`);

    let page = await read(null);
    expect(page.body).toMatchObject({ data: [], has_more: false, status: "in_progress" });
    expect(page.body.next).toEqual(expect.any(String));

    await record(service, made, [0, 1, 3]);
    page = await read(page.body.next);
    // Recorded, but no frontier object names them yet.
    expect(page.body.data).toEqual([]);
    await confirm(service, made, 1);
    const early = await service.ask(`/v1/batches/${id}/results`);
    expect(idsOf(early)).toEqual(lines.slice(0, 3));
    expect(early.body.has_more).toBe(false);
    await confirm(service, made, 2);

    const seen: string[] = [];
    do {
      page = await read(page.body.next);
      seen.push(...idsOf(page));
    } while (page.body.has_more);
    expect(seen).toEqual(lines.slice(0, 7));
    const idle = await read(page.body.next);
    expect(idle.body).toMatchObject({ data: [], has_more: false });

    await record(service, made, [2]);
    await confirm(service, made, 4);
    page = await read(idle.body.next);
    seen.push(...idsOf(page));
    await finish(service, made);
    while (page.body.next !== null) {
      page = await read(page.body.next);
      seen.push(...idsOf(page));
    }
    expect(seen).toEqual(lines);
    expect(page.body).toMatchObject({ has_more: false, status: "completed" });
    expect(seen).toHaveLength(11);
  });

  it("can be had for one status alone, running and ended", async () => {
    const id = await submitted();
    const made = await plan(service, id, [4, 4], [[3, 2]]);
    await record(service, made, [0, 1]);
    await confirm(service, made, 2);
    const lines = linesOf(made);
    const wanted = (status: string) =>
      lines.filter((line) => (line.response?.status_code === 200) === (status === "completed")).map((line) => line.id);
    const readAll = async (status: string) => {
      const seen: string[] = [];
      for (let after = ""; ;) {
        const page = await service.ask(`/v1/batches/${id}/results?limit=2&status=${status}${after}`);
        seen.push(...idsOf(page));
        if (page.body.next === null || !page.body.has_more) return seen;
        after = `&after=${page.body.next}`;
      }
    };
    for (const status of ["completed", "failed"]) expect(await readAll(status)).toEqual(wanted(status));
    await finish(service, made);
    for (const status of ["completed", "failed"]) expect(await readAll(status)).toEqual(wanted(status));
  });

  it("refuse a cursor of another batch, and one that is none", async () => {
    const [one, two] = [await submitted(), await submitted()];
    const { body } = await service.ask(`/v1/batches/${one}/results`);
    const refused = { status: 400, body: { error: { code: "invalid_cursor", param: "after" } } };
    expect(await service.ask(`/v1/batches/${two}/results?after=${body.next}`)).toMatchObject(refused);
    expect(await service.ask(`/v1/batches/${one}/results?after=12`)).toMatchObject(refused);
    expect(await service.ask(`/v1/batches/${one}/results?status=odd`)).toMatchObject({ status: 400, body: { error: { param: "status" } } });
  });
});
