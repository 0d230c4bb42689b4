/** What the demo shows: one line a step, bars while something takes long, a table at the end. Without a terminal, bars become a line every few seconds. */
import { MultiBar, type SingleBar } from "cli-progress";

export interface Bar {
  /** So many are done, of the total. */
  update(done: number): void;
}

export interface Screen {
  step(text: string): void;
  /** Runs work with its bars on the screen, and takes them down in order however it ends. */
  withBars<T>(bars: readonly { readonly name: string; readonly total: number }[], work: (bars: readonly Bar[]) => Promise<T>): Promise<T>;
  table(head: readonly string[], rows: readonly (readonly string[])[]): void;
}

const plainLineMs = 5_000;

export function openScreen(output: NodeJS.WriteStream): Screen {
  const print = (text: string) => void output.write(`${text}\n`);
  return {
    step: print,
    withBars: (bars, work) => (output.isTTY ? withTerminalBars(output, bars, work) : withPlainLines(print, bars, work)),
    table: (head, rows) => {
      const wished = head.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)));
      const widths = fitted(wished, (output.columns ?? 160) - 2 * (head.length - 1));
      const line = (cells: readonly string[]) =>
        cells
          .map((cell, column) => cut(cell, widths[column] ?? 0))
          .join("  ")
          .trimEnd();
      print(line(head));
      print(widths.map((width) => "─".repeat(width)).join("  "));
      for (const row of rows) print(line(row));
    },
  };
}

/** Takes from the widest columns until all fit. */
function fitted(wished: readonly number[], total: number): number[] {
  const widths = [...wished];
  for (let surplus = widths.reduce((sum, width) => sum + width, 0) - total; surplus > 0; surplus--) {
    const widest = widths.indexOf(Math.max(...widths));
    widths[widest] = Math.max(1, (widths[widest] ?? 0) - 1);
  }
  return widths;
}

function cut(cell: string, width: number): string {
  return cell.length > width ? `${cell.slice(0, width - 1)}…` : cell.padEnd(width);
}

/** Things a second and seconds left, since the bar began. */
export function pace(done: number, total: number, elapsedMs: number): string {
  if (done === 0) return "waiting for the first";
  const perSecond = (done * 1_000) / Math.max(1, elapsedMs);
  const left = done >= total ? "done" : `${Math.ceil((total - done) / perSecond)} s left`;
  return `${perSecond.toFixed(1)}/s, ${left}`;
}

async function withTerminalBars<T>(
  output: NodeJS.WriteStream,
  bars: readonly { readonly name: string; readonly total: number }[],
  work: (bars: readonly Bar[]) => Promise<T>,
): Promise<T> {
  const format = "  {name} {bar} {value}/{total}  {pace}";
  const screen = new MultiBar({ format, stream: output, hideCursor: true, barsize: 30, barCompleteChar: "█", barIncompleteChar: "░" });
  const started = Date.now();
  const shown = bars.map(({ name, total }): { bar: SingleBar; total: number } => ({
    bar: screen.create(total, 0, { name: name.padEnd(9), pace: pace(0, total, 0) }),
    total,
  }));
  try {
    return await work(
      shown.map(({ bar, total }) => ({ update: (done) => bar.update(done, { pace: pace(done, total, Date.now() - started) }) })),
    );
  } finally {
    screen.stop();
  }
}

async function withPlainLines<T>(
  print: (text: string) => void,
  bars: readonly { readonly name: string; readonly total: number }[],
  work: (bars: readonly Bar[]) => Promise<T>,
): Promise<T> {
  const started = Date.now();
  return work(
    bars.map(({ name, total }) => {
      let printedAt = started;
      let shown = 0;
      return {
        update: (done) => {
          const now = Date.now();
          if (done === shown || (done < total && now - printedAt < plainLineMs)) return;
          printedAt = now;
          shown = done;
          print(`  ${name} ${done}/${total}  ${pace(done, total, now - started)}`);
        },
      };
    }),
  );
}
