/** S3's XML, as little of it as S3 uses: elements and text. Owns escaping; refuses attributes' values, comments' contents and anything with a DTD. */
import { S3Error } from "./s3-error.ts";

/** An element's content: text, further elements by name, or several elements of one name. Undefined and null are left out. */
export type XmlContent = string | number | boolean | null | undefined | { readonly [name: string]: XmlContent | readonly XmlContent[] };

/** The document with this root. */
export function writeXml(root: string, content: XmlContent): string {
  const body = writeElement(root, content, ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${body}`;
}

export interface XmlElement {
  readonly name: string;
  readonly children: readonly XmlElement[];
  readonly text: string;
}

/** Reads a document's root. Throws MalformedXML. */
export function readXml(text: string): XmlElement {
  const tokens = text.replace(/^\uFEFF/, "").match(/<[^>]*>|[^<]+/g) ?? [];
  interface Open extends XmlElement {
    children: XmlElement[];
    text: string;
  }
  const document: Open = { name: "", children: [], text: "" };
  const open: Open[] = [document];
  for (const token of tokens) {
    const current = open.at(-1) ?? document;
    if (/^<(\?|!--)/.test(token)) continue;
    if (token.startsWith("<!")) throw new S3Error("MalformedXML", "A document type isn't taken.");
    if (token.startsWith("</")) {
      if (open.length < 2 || current.name !== nameOf(token.slice(2, -1))) throw new S3Error("MalformedXML", "An element isn't closed.");
      open.pop();
    } else if (token.startsWith("<")) {
      const element: Open = { name: nameOf(token.slice(1, -1)), children: [], text: "" };
      current.children.push(element);
      if (!token.endsWith("/>")) open.push(element);
    } else current.text += unescape(token);
  }
  const root = document.children[0];
  if (root === undefined || open.length !== 1) throw new S3Error("MalformedXML", "The body isn't a whole XML document.");
  return root;
}

/** The text of the child of that name, or null. */
export function childText(element: XmlElement, name: string): string | null {
  return element.children.find((child) => child.name === name)?.text ?? null;
}

function writeElement(name: string, content: XmlContent | readonly XmlContent[], attributes = ""): string {
  if (content === null || content === undefined) return "";
  if (isList(content)) return content.map((one) => writeElement(name, one)).join("");
  const inner =
    typeof content === "object"
      ? Object.entries(content)
          .map(([child, value]) => writeElement(child, value))
          .join("")
      : escape(String(content));
  return `<${name}${attributes}>${inner}</${name}>`;
}

const isList = (content: XmlContent | readonly XmlContent[]): content is readonly XmlContent[] => Array.isArray(content);
const nameOf = (tag: string): string => tag.trim().split(/[\s/]/)[0]?.replace(/^.*:/, "") ?? "";
const escape = (text: string): string =>
  // Control characters can't stand in XML 1.0 at all; S3 sends them as references, which lenient readers take.
  // oxlint-disable-next-line no-control-regex
  text.replaceAll(/[&<>"\u0000-\u001F]/g, (character) => `&#x${character.charCodeAt(0).toString(16).toUpperCase()};`);
const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
const unescape = (text: string): string =>
  text.replaceAll(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex?: string, decimal?: string, name?: string) =>
    hex !== undefined || decimal !== undefined
      ? String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16))
      : (named[name ?? ""] ?? whole),
  );
