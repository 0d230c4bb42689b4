/** A plain table: columns as wide as their widest cell, the last one cut to the screen. */

/** Without `columns`, nothing is cut. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[], columns?: number): string {
  const widths = head.map((name, column) => Math.max(name.length, ...rows.map((row) => (row[column] ?? "").length)));
  const line = (cells: readonly string[]): string => {
    const text = cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
    return columns !== undefined && text.length > columns ? `${text.slice(0, Math.max(1, columns - 1))}…` : text;
  };
  return [head, widths.map((width) => "─".repeat(width)), ...rows].map((cells) => `${line(cells)}\n`).join("");
}

/** One line of it, whatever the text holds. */
export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim();
}

/** A Unix time as `2026-11-23 15:04:05`, in the reader's time zone. */
export function formatTime(seconds: number | null): string {
  if (seconds === null) return "–";
  const date = new Date(seconds * 1_000);
  const two = (number: number) => String(number).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":")}`;
}

/** `42 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} min`;
}

/** `900 B`, `4.2 MB`, `11.9 GB`: powers of ten, as file listings on the web have them. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 10 ** (3 * power)).toFixed(power === 0 ? 0 : 1)} ${units[power] ?? ""}`;
}
