/**
 * Who sees whom, and how far away: what every layer's self-attention adds to its scores or turns its queries and keys by, computed once per run.
 * Owns ALiBi and rotary positions and the masks of past and new tokens; refuses scores themselves.
 * ALiBi counts from the query (slope × (key − query)), not from the end: the same after softmax, and exact near the query where it matters.
 */
import type { Architecture } from "../architecture.ts";
import type { Value } from "../onnx/graph-builder.ts";
import type { Sight } from "./decoder-run.ts";
import { axisLength, concat, multiply, range, reshape, shapeOf, subtract, toFloat, type Wiring } from "./layers.ts";

type Decoder = Architecture["decoder"];

interface Inputs {
  readonly groups: Value;
  readonly positions: Value;
  readonly visible: Value;
  readonly pastPositions: Value | null;
  readonly prefixKey: Value;
  readonly prefixValue: Value;
}

/** Added to a score, it leaves a weight of exactly 0; finite, so that a query that sees nothing gives no NaN. */
export const unseen = -1e30;

export function preparePositions(wiring: Wiring, decoder: Decoder, inputs: Inputs): Sight {
  const { graph } = wiring;
  const { groups, positions } = inputs;
  const perQuery = shapeOf(wiring, [groups, 1, -1, 1]);
  const queryPosition = toFloat(wiring, reshape(wiring, positions, perQuery)); // (groups, 1, group tokens, 1)
  const pastSeen = seenPast(wiring, inputs); // (groups, 1, group tokens, past)
  const newSeen = seenNew(wiring, positions, groups); // (group tokens, group tokens)
  const masked = (seen: Value, bias: Value): Value => graph.node("Where", [seen, bias, graph.float(unseen)]);

  const surplus = surplusScores(wiring, decoder, inputs);
  if (decoder.positions.kind === "rotary") {
    const none = graph.float(0);
    return {
      prefixBias: null,
      surplus,
      pastBias: masked(pastSeen, none),
      newBias: masked(graph.node("Unsqueeze", [newSeen, graph.integers([0, 1])]), none),
      rotation: prepareRotation(wiring, positions, decoder.positions),
    };
  }

  if (inputs.pastPositions === null) throw new Error("ALiBi needs the positions of the past");
  const { heads } = decoder;
  const slopes = graph.floats(decoder.positions.slopes, [heads, 1, 1]);
  const perKey = shapeOf(wiring, [groups, 1, 1, -1]);
  const distanceBias = (keyPosition: Value, from: Value): Value => multiply(wiring, slopes, subtract(wiring, keyPosition, from));
  const pastPosition = toFloat(wiring, reshape(wiring, inputs.pastPositions, perKey)); // (groups, 1, 1, past)
  const newPosition = reshape(wiring, queryPosition, perKey); // (groups, 1, 1, group tokens)
  const prefixPosition = toFloat(wiring, reshape(wiring, range(wiring, axisLength(wiring, inputs.prefixKey, 1)), [1, 1, -1]));
  return {
    prefixBias: distanceBias(prefixPosition, reshape(wiring, queryPosition, [1, -1, 1])), // (heads, tokens, prefix)
    surplus,
    pastBias: masked(pastSeen, distanceBias(pastPosition, queryPosition)), // (groups, heads, group tokens, past)
    newBias: masked(newSeen, distanceBias(newPosition, queryPosition)), // (groups, heads, group tokens, group tokens)
    rotation: null,
  };
}

/** The prefix may come with more values than keys (decoder.ts says why): those in front, seen by nobody: (heads, tokens, surplus). */
function surplusScores(wiring: Wiring, { heads }: Decoder, { positions, prefixKey, prefixValue }: Inputs): Value {
  const { graph } = wiring;
  const tokens = graph.node("Mul", [axisLength(wiring, positions, 0), axisLength(wiring, positions, 1)]);
  const surplus = subtract(wiring, axisLength(wiring, prefixValue, 1), axisLength(wiring, prefixKey, 1));
  return graph.node("Expand", [graph.float(unseen), shapeOf(wiring, [heads, tokens, surplus])]);
}

/** A row sees the entries of its group's pool that are its own past, with all its new tokens: (groups, 1, group tokens, past). */
function seenPast(wiring: Wiring, { visible, positions, groups }: Inputs): Value {
  const { graph } = wiring;
  const past = axisLength(wiring, visible, 1);
  const perToken = shapeOf(wiring, [axisLength(wiring, positions, 0), axisLength(wiring, positions, 1), past]);
  const spread = graph.node("Expand", [graph.node("Unsqueeze", [visible, graph.integers([1])]), perToken]); // (rows, length, past)
  // The group's token count is written out: −1 can't be told from an empty past.
  const groupTokens = graph.node("Div", [graph.node("Mul", [axisLength(wiring, positions, 0), axisLength(wiring, positions, 1)]), groups]);
  return reshapeAllowingZero(wiring, spread, shapeOf(wiring, [groups, 1, groupTokens, past]));
}

/** New tokens see those before them in their own row: (group tokens, group tokens), the same for every group. */
function seenNew(wiring: Wiring, positions: Value, groups: Value): Value {
  const { graph } = wiring;
  const length = axisLength(wiring, positions, 1);
  const groupTokens = graph.node("Div", [graph.node("Mul", [axisLength(wiring, positions, 0), length]), groups]);
  const index = range(wiring, groupTokens);
  const query = reshape(wiring, index, [-1, 1]);
  const key = reshape(wiring, index, [1, -1]);
  const rowOf = (token: Value): Value => graph.node("Div", [token, length]);
  const sameRow = graph.node("Equal", [rowOf(query), rowOf(key)]);
  return graph.node("And", [sameRow, graph.node("LessOrEqual", [key, query])]);
}

/** Angles in fp32 from the base, as GPT-NeoX computes them; stored frequencies are often rounded. */
function prepareRotation(
  wiring: Wiring,
  positions: Value,
  { width, base }: { width: number; base: number },
): { cosine: Value; sine: Value } {
  const { graph } = wiring;
  const frequencies = Array.from({ length: width / 2 }, (_, index) => 1 / base ** ((2 * index) / width));
  const perToken = toFloat(wiring, reshape(wiring, positions, [-1, 1, 1])); // (tokens, 1, 1)
  const angles = multiply(wiring, perToken, graph.floats(frequencies, [1, 1, width / 2])); // (tokens, 1, width / 2)
  return { cosine: graph.node("Cos", [angles]), sine: graph.node("Sin", [angles]) };
}

/** Turns the first `width` numbers of each head, the first half against the second: (tokens, heads, d) → the same. */
export function rotate(wiring: Wiring, value: Value, rotation: { cosine: Value; sine: Value }, width: number, headWidth: number): Value {
  const { graph } = wiring;
  const half = width / 2;
  const rest = headWidth - width;
  const [first, second, unturned] = graph.split(
    value,
    graph.integers(rest === 0 ? [half, half] : [half, half, rest]),
    rest === 0 ? 2 : 3,
    -1,
  );
  if (first === undefined || second === undefined) throw new Error("a split gave fewer parts than asked");
  const turnedFirst = subtract(wiring, multiply(wiring, first, rotation.cosine), multiply(wiring, second, rotation.sine));
  const turnedSecond = graph.node("Add", [multiply(wiring, second, rotation.cosine), multiply(wiring, first, rotation.sine)]);
  return concat(wiring, unturned === undefined ? [turnedFirst, turnedSecond] : [turnedFirst, turnedSecond, unturned], -1);
}

function reshapeAllowingZero({ graph }: Wiring, value: Value, shape: Value): Value {
  return graph.node("Reshape", [value, shape], { allowzero: 1 });
}
