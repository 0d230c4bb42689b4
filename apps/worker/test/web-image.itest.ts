/** Against a real web server on this machine, with a real certificate; where a name leads to is the tests' to say. */
import type { RequestListener } from "node:http";
import { startHttpsServer, type HttpsServer } from "@flamboyance/dev/https-server";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { openWebImages, type WebFetch, type WebImages, type WebImagesOptions } from "../src/web-image.ts";

const host = "images.example";
const forever = new AbortController().signal;
const bytes = Buffer.from("an image, as it were");

let server: HttpsServer;
let answer: RequestListener;
/** Host headers and paths, as they came. */
let seen: string[];
const opened: WebImages[] = [];
beforeAll(async () => {
  server = await startHttpsServer([host, "cdn.example", "127.0.0.1"], (request, response) => {
    seen.push(`${request.headers.host?.replace(`:${server.port}`, "") ?? ""}${request.url ?? ""}`);
    answer(request, response);
  });
});
afterEach(() => {
  for (const web of opened.splice(0)) web.close();
});
afterAll(() => server.close());

function open(options: Partial<WebImagesOptions> = {}, fetching: Partial<WebFetch> = {}) {
  seen = [];
  answer = (_request, response) => void response.end(bytes);
  const web = openWebImages({
    loopback: true,
    ca: server.certificate,
    resolve: () => Promise.resolve(["127.0.0.1"]),
    pauseMs: 1,
    ...options,
  });
  opened.push(web);
  return (path = "/a.jpg", signal: AbortSignal = forever, at = `https://${host}:${server.port}`) =>
    web.fetch(`${at}${path}`, { mayRead: () => true, maxBytes: 1_000, ...fetching }, signal);
}

it("gives an image's bytes, asked for by its own name at the address that the name had", async () => {
  const fetch = open();
  expect(Buffer.from(await fetch("/a%20b.jpg?signature=s"))).toEqual(bytes);
  expect(seen).toEqual([`${host}/a%20b.jpg?signature=s`]);
});

describe("where an address leads", () => {
  it.each([
    ["10.0.0.1"],
    ["127.0.0.1"],
    ["169.254.169.254"],
    ["100.64.0.1"],
    ["224.0.0.1"],
    ["::1"],
    ["::ffff:127.0.0.1"],
    ["fe80::1"],
    ["fd00:ec2::254"],
    ["64:ff9b::a9fe:a9fe"],
    // One among others is enough.
    ["8.8.8.8", "10.0.0.1"],
  ])("is refused where the name is %s", async (...addresses: string[]) => {
    const fetch = open({ loopback: false, resolve: () => Promise.resolve(addresses) });
    await expect(fetch("/a.jpg", forever, `https://${host}`)).rejects.toMatchObject({ code: "image_forbidden" });
    expect(seen).toEqual([]);
  });

  it.each([
    "https://127.0.0.1",
    "https://2130706433",
    "https://0x7f.1",
    "https://[::ffff:7f00:1]",
    "https://[::1]",
    "https://169.254.169.254",
  ])("is refused where it is %s itself", async (at) => {
    const fetch = open({ loopback: false });
    await expect(fetch("/", forever, at)).rejects.toMatchObject({ code: "image_forbidden" });
    expect(seen).toEqual([]);
  });

  it("is looked up once for each answer, and what was found is connected to; a name that turns private is refused then", async () => {
    let asked = 0;
    // No name server knows this name: it's connected to where the look said.
    const fetch = open({ resolve: () => Promise.resolve(asked++ === 0 ? ["127.0.0.1"] : ["10.0.0.1"]) });
    expect(Buffer.from(await fetch())).toEqual(bytes);
    expect(asked).toBe(1);
    await expect(fetch()).rejects.toMatchObject({ code: "image_forbidden" });
    expect(seen).toHaveLength(1);
  });

  it("takes no port but 443, no http, no credentials, no host that its tenant may not use", async () => {
    const anywhere = { loopback: false, resolve: () => Promise.resolve(["8.8.8.8"]) };
    for (const at of [
      `https://${host}:8443`,
      `https://${host}:22`,
      `http://${host}`,
      `https://me:secret@${host}`,
      "file:///etc/passwd",
      "ftp://x",
    ]) {
      const refusal: unknown = await open(anywhere)("/a.jpg", forever, at).catch((error: unknown) => error);
      expect(refusal, at).toMatchObject({ code: "image_forbidden" });
      expect(String(refusal)).not.toContain("secret");
    }
    const foreign = open({}, { mayRead: (name) => name === "cdn.example" });
    await expect(foreign()).rejects.toMatchObject({ code: "image_forbidden" });
    expect(seen).toEqual([]);
  });

  it("must have a certificate for the name", async () => {
    await expect(open()("/a.jpg", forever, `https://other.example:${server.port}`)).rejects.toMatchObject({
      code: "image_unavailable",
      message: expect.stringContaining("ERR_TLS_CERT_ALTNAME_INVALID"),
    });
    await expect(open({ ca: "" })()).rejects.toMatchObject({ code: "image_unavailable" });
    expect(seen).toEqual([]);
  });
});

describe("a redirect", () => {
  const to =
    (location: string, status = 302): RequestListener =>
    (request, response) =>
      void (request.url === "/a.jpg" ? response.writeHead(status, { location }).end("elsewhere") : response.end(bytes));

  it.each([301, 302, 303, 307, 308])("(%i) is followed, also to another host and by a relative path", async (status) => {
    const fetch = open();
    answer = to(`https://cdn.example:${server.port}/b.jpg`, status);
    expect(Buffer.from(await fetch())).toEqual(bytes);
    answer = to("b.jpg", status);
    expect(Buffer.from(await fetch())).toEqual(bytes);
    expect(seen).toEqual([`${host}/a.jpg`, "cdn.example/b.jpg", `${host}/a.jpg`, `${host}/b.jpg`]);
  });

  it("is looked at as the first address was: private, http, another port, a host that isn't the tenant's", async () => {
    const cases: [string, Partial<WebFetch>?][] = [
      ["https://169.254.169.254/latest/meta-data/"],
      ["https://inside.example/"],
      [`http://${host}/b.jpg`],
      ["//[::ffff:a9fe:a9fe]/"],
      ["https://me:secret@cdn.example/"],
      [`https://cdn.example:${server.port}/b.jpg`, { mayRead: (name) => name === host }],
    ];
    for (const [location, fetching] of cases) {
      const fetch = open({ resolve: (name) => Promise.resolve([name === "inside.example" ? "10.0.0.1" : "127.0.0.1"]) }, fetching);
      answer = to(location);
      await expect(fetch(), location).rejects.toMatchObject({ code: "image_forbidden" });
      expect(seen, location).toEqual([`${host}/a.jpg`]);
    }
  });

  it("that never ends does", async () => {
    const fetch = open();
    answer = to("/a.jpg");
    await expect(fetch()).rejects.toMatchObject({ code: "image_forbidden", message: expect.stringContaining("redirects") });
    expect(seen).toHaveLength(6);
  });
});

describe("an answer", () => {
  it("with more bytes than allowed is refused, whether it says so or not", async () => {
    const fetch = open();
    answer = (_request, response) => void response.end(Buffer.alloc(1_001));
    await expect(fetch()).rejects.toMatchObject({ code: "image_too_large" });
    let cut = false;
    answer = (_request, response) => {
      response.on("close", () => (cut = true));
      const more = () => void (response.destroyed || response.write(Buffer.alloc(500), () => setImmediate(more)));
      more();
    };
    await expect(fetch()).rejects.toMatchObject({ code: "image_too_large" });
    await expect.poll(() => cut, { timeout: 20_000 }).toBe(true);
    answer = (_request, response) => void response.end(Buffer.alloc(1_000));
    expect(await fetch()).toHaveLength(1_000);
  });

  it("that comes packed is refused: nothing is unpacked before it is counted", async () => {
    const fetch = open();
    answer = (_request, response) => void response.writeHead(200, { "content-encoding": "gzip" }).end(bytes);
    await expect(fetch()).rejects.toMatchObject({ code: "image_unsupported" });
  });

  it.each([
    [404, "image_not_found"],
    [410, "image_not_found"],
    [401, "image_forbidden"],
    [403, "image_forbidden"],
  ] as const)("of %i is %s, at once", async (status, code) => {
    const fetch = open();
    answer = (_request, response) => void response.writeHead(status).end();
    await expect(fetch("/a.jpg?signature=secret")).rejects.toMatchObject({ code, message: expect.not.stringContaining("secret") });
    expect(seen).toHaveLength(1);
  });

  it("that passes is asked for three times, and then is the item's own", async () => {
    const fetch = open();
    answer = (_request, response) => void response.writeHead(503).end();
    await expect(fetch()).rejects.toMatchObject({ code: "image_unavailable" });
    expect(seen).toHaveLength(3);
    seen = [];
    answer = (request, response) => void (seen.length < 3 ? request.socket.destroy() : response.end(bytes));
    expect(Buffer.from(await fetch())).toEqual(bytes);
  });

  it("that is cut off, or stops, or drips, is no image", async () => {
    const fetch = open({ silenceMs: 100 });
    answer = (_request, response) => {
      response.writeHead(200, { "content-length": 100 });
      response.write("half", () => response.destroy());
    };
    await expect(fetch()).rejects.toMatchObject({ code: "image_unavailable" });
    answer = (_request, response) => void response.write("some");
    await expect(fetch()).rejects.toMatchObject({ code: "image_unavailable" });
    const impatient = open({ tryMs: 300 });
    answer = (_request, response) => {
      const drip = setInterval(() => response.write("."), 20);
      response.on("close", () => clearInterval(drip));
    };
    await expect(impatient()).rejects.toMatchObject({ code: "image_unavailable", message: expect.stringContaining("too slow") });
  });
});

it("is given up with the signal's reason", async () => {
  const fetch = open();
  const gaveUp = new AbortController();
  answer = () => gaveUp.abort(new Error("gave up"));
  await expect(fetch("/a.jpg", gaveUp.signal)).rejects.toThrow("gave up");
  await expect(fetch("/a.jpg", gaveUp.signal)).rejects.toThrow("gave up");
});

it("finds no host by this machine's own files", async () => {
  const web = openWebImages({ loopback: true, pauseMs: 1, tryMs: 5_000 });
  opened.push(web);
  const refusal: unknown = await web
    .fetch(`https://localhost:${server.port}/`, { mayRead: () => true, maxBytes: 1 }, forever)
    .catch((error: unknown) => error);
  // Which of them depends on the name server that is here, if any is.
  expect(refusal).toMatchObject({ code: expect.stringMatching(/^image_(not_found|unavailable|forbidden)$/) });
});
