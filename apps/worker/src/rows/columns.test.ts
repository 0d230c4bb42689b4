import { describe, expect, it } from "vitest";
import { checkHeader, mapColumns } from "./columns.ts";

const check = (names: readonly string[], columns?: Parameters<typeof mapColumns>[0], line?: number) => {
  try {
    checkHeader(names, mapColumns(columns).expected, line);
    return "fits";
  } catch (error) {
    return error;
  }
};

describe("a header", () => {
  it("fits with an id and an image or images, by our names or by those that the request gives", () => {
    expect(check(["image", "custom_id", "question"])).toBe("fits");
    expect(check(["custom_id", "images"])).toBe("fits");
    expect(check(["id", "frames"], { custom_id: "id", images: "frames" })).toBe("fits");
    expect(check(["url"], { custom_id: "url", image: "url" })).toBe("fits");
  });

  it.each([
    [["id", "url"], undefined, "there is no column custom_id, and none image (or images); there are id, url", "columns.custom_id"],
    [["custom_id", "", "url"], undefined, "there is no column image (or images); there are custom_id, url", "columns.image"],
    [["custom_id", "url"], { image: "link" }, "there is no column link; there are custom_id, url", "columns.image"],
    [["custom_id", "image"], { question: "ask" }, "there is no column ask; there are custom_id, image", "columns.question"],
    [["", ""], { custom_id: "id", image: "url" }, "there is no column id, and none url; there are none with a name", "columns.custom_id"],
  ] as const)("of %j for %j is told what it lacks and what it has", (names, columns, message, param) => {
    expect(check(names, columns)).toMatchObject({ code: "invalid_header", message, param });
  });

  it("of one column in a text is told what separates columns", () => {
    const hint = "there are custom_id;image, as one column: a .csv is separated by commas, a .tsv by tabs";
    expect(check(["custom_id;image"], undefined, 1)).toMatchObject({ message: expect.stringContaining(hint), line: 1 });
    expect(check(["custom_id;image"])).toMatchObject({ message: expect.not.stringContaining("separated") });
  });

  it("shows some of very many, or very long, names", () => {
    const names = Array.from({ length: 25 }, (_, at) => `${at}`.padStart(70, "x"));
    const shown = Array.from({ length: 20 }, () => `${"x".repeat(60)}…`).join(", ");
    expect(check(names)).toMatchObject({ message: expect.stringMatching(new RegExp(`; there are ${shown} and 5 more$`)) });
  });
});
