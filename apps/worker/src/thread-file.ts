/** The file of a worker thread beside this one: TypeScript while the sources run, JavaScript once built. */
export function threadFile(name: string): URL {
  return new URL(`./${name}${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url);
}
