/**
 * A pickle machine that can run no code: it builds plain containers, numbers, texts and *descriptions* of tensors, and stops at anything else.
 * Owns the opcodes; refuses (`pickle_refused`) those that it doesn't know, and every name off the list in pickle-names.ts.
 */
import { CodedError } from "@flamboyance/contracts";
import { littleInteger, PickleInput, textInteger } from "./pickle-input.ts";
import { allowedName, call, storageOf, type Rules } from "./pickle-names.ts";
import { dictEntries, isKind, isModuleClass, listItems, nameOf, pairs, textOf, tupleItems, type Pickled } from "./pickled.ts";

/** Reads the pickle that begins at `offset`; `file` is for messages, `torchScript` allows TorchScript's module classes as labels. */
export function unpickle(
  bytes: Uint8Array,
  file: string,
  options: { offset?: number; torchScript?: boolean } = {},
): { value: Pickled; end: number } {
  const refuse: Rules["refuse"] = (what) =>
    new CodedError("pickle_refused", `${file} holds ${what}: only tensors and plain containers are read, and nothing was executed`);
  try {
    return run(bytes, options.offset ?? 0, { torchScript: options.torchScript ?? false, refuse });
  } catch (error) {
    if (error instanceof CodedError) throw error;
    // The machine's own stops: a read past the end, an empty stack, a value of the wrong kind.
    throw new CodedError("model_piece_corrupt", `${file} isn't a whole pickle`, { cause: error });
  }
}

function run(bytes: Uint8Array, begin: number, rules: Rules): { value: Pickled; end: number } {
  const input = new PickleInput(bytes, begin);
  let stack: Pickled[] = [];
  const marked: Pickled[][] = [];
  const memo = new Map<number, Pickled>();

  const push = (value: Pickled): void => {
    stack.push(value);
  };
  const pop = (): Pickled => {
    if (stack.length === 0) throw new RangeError("the stack is empty");
    return stack.pop() ?? null;
  };
  const top = (): Pickled => {
    if (stack.length === 0) throw new RangeError("the stack is empty");
    return stack.at(-1) ?? null;
  };
  const popToMark = (): Pickled[] => {
    const items = stack;
    const below = marked.pop();
    if (below === undefined) throw new RangeError("there is no mark");
    stack = below;
    return items;
  };
  const popTuple = (length: number): void => {
    if (stack.length < length) throw new RangeError("the stack is too short");
    push({ kind: "tuple", items: stack.splice(stack.length - length) });
  };
  const recall = (key: number): void => {
    if (!memo.has(key)) throw new RangeError("nothing was kept under this number");
    push(memo.get(key) ?? null);
  };

  for (;;) {
    const opcode = input.byte();
    switch (opcode) {
      // Frames and ends
      case 0x80: // PROTO
        if (input.byte() > 5) throw rules.refuse("a pickle of an unknown protocol");
        break;
      case 0x95: // FRAME
        input.take(8);
        break;
      case 0x2e: // STOP
        return { value: pop(), end: input.at };
      // The stack
      case 0x28: // MARK
        marked.push(stack);
        stack = [];
        break;
      case 0x30: // POP
        if (stack.length === 0) popToMark();
        else pop();
        break;
      case 0x31: // POP_MARK
        popToMark();
        break;
      case 0x32: // DUP
        push(top());
        break;
      // Plain values
      case 0x4e: // NONE
        push(null);
        break;
      case 0x88: // NEWTRUE
        push(true);
        break;
      case 0x89: // NEWFALSE
        push(false);
        break;
      case 0x49: // INT: also protocol 0's booleans
        push(textInteger(input.line(), true));
        break;
      case 0x4c: // LONG
        push(textInteger(input.line().replace(/L$/, ""), false));
        break;
      case 0x4a: // BININT
        push(input.view(4).getInt32(0, true));
        break;
      case 0x4b: // BININT1
        push(input.byte());
        break;
      case 0x4d: // BININT2
        push(input.view(2).getUint16(0, true));
        break;
      case 0x8a: // LONG1
        push(littleInteger(input.take(input.byte())));
        break;
      case 0x8b: // LONG4
        push(littleInteger(input.take(input.length(4))));
        break;
      case 0x46: // FLOAT
        push(Number(input.line()));
        break;
      case 0x47: // BINFLOAT
        push(input.view(8).getFloat64(0, false));
        break;
      case 0x58: // BINUNICODE
        push(input.text(input.length(4)));
        break;
      case 0x8c: // SHORT_BINUNICODE
        push(input.text(input.byte()));
        break;
      case 0x8d: // BINUNICODE8
        push(input.text(input.length(8)));
        break;
      case 0x56: // UNICODE
        push(input.line());
        break;
      case 0x54: // BINSTRING: Python 2's texts
        push(input.text(input.length(4)));
        break;
      case 0x55: // SHORT_BINSTRING
        push(input.text(input.byte()));
        break;
      case 0x42: // BINBYTES
        push(input.take(input.length(4)));
        break;
      case 0x43: // SHORT_BINBYTES
        push(input.take(input.byte()));
        break;
      case 0x8e: // BINBYTES8
        push(input.take(input.length(8)));
        break;
      // Containers
      case 0x5d: // EMPTY_LIST
        push({ kind: "list", items: [] });
        break;
      case 0x6c: // LIST
        push({ kind: "list", items: popToMark() });
        break;
      case 0x61: {
        // APPEND
        const item = pop();
        listItems(top()).push(item);
        break;
      }
      case 0x65: {
        // APPENDS
        const items = popToMark();
        const list = listItems(top());
        for (const item of items) list.push(item);
        break;
      }
      case 0x29: // EMPTY_TUPLE
        push({ kind: "tuple", items: [] });
        break;
      case 0x74: // TUPLE
        push({ kind: "tuple", items: popToMark() });
        break;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        popTuple(opcode - 0x84);
        break;
      case 0x7d: // EMPTY_DICT
        push({ kind: "dict", entries: new Map() });
        break;
      case 0x64: // DICT
        push({ kind: "dict", entries: pairs(popToMark()) });
        break;
      case 0x73: {
        // SETITEM
        const [value, key] = [pop(), pop()];
        dictEntries(top()).set(key, value);
        break;
      }
      case 0x75: {
        // SETITEMS
        const items = pairs(popToMark());
        const entries = dictEntries(top());
        for (const [key, value] of items) entries.set(key, value);
        break;
      }
      // What was seen before
      case 0x70: // PUT
        memo.set(Number(input.line()), top());
        break;
      case 0x71: // BINPUT
        memo.set(input.byte(), top());
        break;
      case 0x72: // LONG_BINPUT
        memo.set(input.length(4), top());
        break;
      case 0x94: // MEMOIZE
        memo.set(memo.size, top());
        break;
      case 0x67: // GET
        recall(Number(input.line()));
        break;
      case 0x68: // BINGET
        recall(input.byte());
        break;
      case 0x6a: // LONG_BINGET
        recall(input.length(4));
        break;
      // Names, and the few that may be called
      case 0x63: // GLOBAL
        push(allowedName(input.line(), input.line(), rules));
        break;
      case 0x93: {
        // STACK_GLOBAL
        const [name, module] = [textOf(pop()), textOf(pop())];
        push(allowedName(module, name, rules));
        break;
      }
      case 0x52: {
        // REDUCE
        const [args, callee] = [tupleItems(pop()), pop()];
        push(call(callee, args, rules));
        break;
      }
      case 0x81: {
        // NEWOBJ
        const [args, callee] = [tupleItems(pop()), pop()];
        if (!isModuleClass(callee) || args.length > 0) throw rules.refuse(`an object of ${nameOf(callee)}`);
        push({ kind: "object", className: nameOf(callee), attributes: new Map() });
        break;
      }
      case 0x62: {
        // BUILD: a module's attributes; on an OrderedDict it is torch's `_metadata` (versions), which nothing here needs
        const [state, target] = [pop(), top()];
        if (isKind(target, "object") && isKind(state, "dict")) target.attributes = state.entries;
        else if (!isKind(target, "dict") || !isKind(state, "dict")) throw rules.refuse("an object with a state of its own");
        break;
      }
      case 0x51: // BINPERSID
        push(storageOf(pop(), rules));
        break;
      default:
        throw rules.refuse(`the pickle opcode 0x${opcode.toString(16)}`);
    }
  }
}
