"""What a pickle would do, read from its bytes: nothing is imported, called or built (S9).

A pickle is a program for a small stack machine. This module walks through the program with a
stack of what is known without running it: text, raw bytes, tuples, and which names from which
modules would be looked up and called. Whatever else there is, is unknown.

It is made for hostile input: any bytes give a Reading, in time and memory bounded by MAX_STEPS
and by a small multiple of the size of the pickle. Whatever could not be followed is among its
`problems`. What it does not show cannot be proven absent: a harmless name may do harm.

The instructions are those of protocols 0 to 5 (Python's Lib/pickletools.py describes them).
"""

from __future__ import annotations

import codecs
from typing import Any

from wepystore.store.pickles.machine import (
    MARK,
    MAX_ITEMS,
    MAX_TEXT,
    UNKNOWN,
    Action,
    Machine,
    StopReading,
    short,
)
from wepystore.store.pickles.reading import Reading

# Bounds on what hostile input may make this do; people's own classes take a few thousand steps.
MAX_STEPS = 2_000_000
MAX_DEPTH = 5


def read(data: bytes | memoryview) -> Reading:
    """What a pickle would look up and call. Never raises for what is in `data`."""
    budget = [MAX_STEPS]
    return _read(memoryview(data), budget, 0)


def _read(data: memoryview, budget: list[int], depth: int) -> Reading:
    before = budget[0]
    machine = Machine(data, budget)
    problems = machine.run(ACTIONS)
    nested: list[Reading] = []
    for blob in machine.blobs:
        if depth >= MAX_DEPTH:
            problems["pickles within pickles go deeper than is read here"] = None
            break
        nested.append(_read(data[blob.start : blob.end], budget, depth + 1))
    names = machine.names
    return Reading(
        protocol=machine.protocol,
        size=len(data),
        steps=before - budget[0],
        names=tuple(sorted(names.items(), key=lambda item: (str(item[0]), item[1]))),
        counts=tuple(sorted(machine.counts.items())),
        functions=tuple(machine.functions),
        words=tuple(dict.fromkeys(machine.words)),
        nested=tuple(nested),
        problems=tuple(problems),
    )


# ---- the instructions: each reads its argument and does to the stack what is known of it


def _skip(width: int) -> Action:
    """A value that is not followed, of `width` bytes."""

    def action(machine: Machine) -> None:
        machine.take(width)
        machine.push(UNKNOWN)

    return action


def _skip_line(machine: Machine) -> None:
    machine.line()
    machine.push(UNKNOWN)


def _skip_counted(width: int) -> Action:
    def action(machine: Machine) -> None:
        machine.take(machine.number(width))
        machine.push(UNKNOWN)

    return action


def _text(width: int) -> Action:
    return lambda machine: machine.push(machine.text(machine.take(machine.number(width))))


def _raw(width: int) -> Action:
    return lambda machine: machine.raw(machine.take(machine.number(width)))


def _old_text(width: int) -> Action:
    """Python 2's strings: text where they are names, and bytes that may be a pickle."""

    def action(machine: Machine) -> None:
        blob = machine.take(machine.number(width))
        text = machine.text(blob)
        machine.raw(blob)
        if isinstance(text, str):
            machine.stack[-1] = text

    return action


def _quoted(machine: Machine) -> None:
    line = machine.line()
    if len(line) > MAX_TEXT:
        machine.push(UNKNOWN)
        return
    inner = line.strip()[1:-1]
    try:
        inner = codecs.escape_decode(inner)[0]
    except ValueError:
        raise StopReading(f"byte {machine.place}: {short(line)} is no text") from None
    machine.push(inner.decode("utf-8", "backslashreplace"))


def _escaped(machine: Machine) -> None:
    line = machine.line()
    known = len(line) <= MAX_TEXT
    try:
        machine.push(line.decode("raw-unicode-escape") if known else UNKNOWN)
    except UnicodeDecodeError:
        raise StopReading(f"byte {machine.place}: {short(line)} is no text") from None


def _global(machine: Machine) -> None:
    module, name = machine.line(), machine.line()
    machine.look_up(
        *(
            part.decode("utf-8", "backslashreplace") if len(part) <= MAX_TEXT else None
            for part in (module, name)
        )
    )


def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.look_up(module, name)


def _inst(machine: Machine) -> None:
    _global(machine)
    name = machine.pop()
    machine.call("INST", name, tuple(machine.pop_mark()[:MAX_ITEMS]))


def _obj(machine: Machine) -> None:
    items = machine.pop_mark()
    if not items:
        raise StopReading(f"byte {machine.place}: an object is made of nothing")
    machine.call("OBJ", items[0], tuple(items[1 : MAX_ITEMS + 1]))


def _call(how: str, n_arguments: int = 1) -> Action:
    def action(machine: Machine) -> None:
        arguments: Any = None
        for _ in range(n_arguments):
            # Of NEWOBJ_EX the keywords are on top, and are not followed.
            arguments = machine.pop()
        machine.call(how, machine.pop(), arguments)

    return action


def _extension(width: int) -> Action:
    def action(machine: Machine) -> None:
        code = machine.number(width)
        machine.counts["EXT"] += 1
        machine.look_up(None, f"extension {code}")

    return action


def _persistent(from_line: bool) -> Action:
    def action(machine: Machine) -> None:
        if from_line:
            machine.line()
        else:
            machine.pop()
        machine.counts["PERSID"] += 1
        machine.push(UNKNOWN)

    return action


def _build(machine: Machine) -> None:
    machine.pop()
    machine.counts["BUILD"] += 1
    if not machine.stack:
        raise StopReading(f"byte {machine.place}: a state is given to nothing")


def _protocol(machine: Machine) -> None:
    machine.protocol = machine.number(1)
    if machine.protocol > 5:
        raise StopReading(f"it says that it has protocol {machine.protocol}, which is not known")


def _frame(machine: Machine) -> None:
    # Frames only group the reading; Python's own reader does not even check their lengths.
    machine.number(8)


def _from_mark(machine: Machine) -> None:
    machine.pop_mark()
    machine.push(UNKNOWN)


def _pops(count: int) -> Action:
    """Values that go into a container, which itself is not followed."""

    def action(machine: Machine) -> None:
        for _ in range(count):
            machine.pop()

    return action


def _pop(machine: Machine) -> None:
    machine.pop()


def _duplicate(machine: Machine) -> None:
    value = machine.pop()
    machine.push(value)
    machine.push(value)


def _tuple(count: int) -> Action:
    def action(machine: Machine) -> None:
        machine.tuple_of([machine.pop() for _ in range(count)][::-1])

    return action


def _memoize(machine: Machine) -> None:
    machine.put(len(machine.memo))


def _nothing(machine: Machine) -> None:
    """A mark that a buffer is read-only."""


def _unknown(machine: Machine) -> None:
    machine.push(UNKNOWN)


ACTIONS: dict[int, Action] = {
    ord("("): lambda m: m.push(MARK),
    ord("0"): _pop,
    ord("1"): lambda m: (m.pop_mark(), None)[1],
    ord("2"): _duplicate,
    ord("F"): _skip_line,
    ord("I"): _skip_line,
    ord("J"): _skip(4),
    ord("K"): _skip(1),
    ord("L"): _skip_line,
    ord("M"): _skip(2),
    ord("N"): _unknown,
    ord("P"): _persistent(True),
    ord("Q"): _persistent(False),
    ord("R"): _call("REDUCE"),
    ord("S"): _quoted,
    ord("T"): _old_text(4),
    ord("U"): _old_text(1),
    ord("V"): _escaped,
    ord("X"): _text(4),
    ord("a"): _pops(1),
    ord("b"): _build,
    ord("c"): _global,
    ord("d"): _from_mark,
    ord("}"): _unknown,
    ord("e"): lambda m: (m.pop_mark(), None)[1],
    ord("g"): lambda m: m.get(m.index()),
    ord("h"): lambda m: m.get(m.number(1)),
    ord("i"): _inst,
    ord("j"): lambda m: m.get(m.number(4)),
    ord("l"): _from_mark,
    ord("]"): _unknown,
    ord("o"): _obj,
    ord("p"): lambda m: m.put(m.index()),
    ord("q"): lambda m: m.put(m.number(1)),
    ord("r"): lambda m: m.put(m.number(4)),
    ord("s"): _pops(2),
    ord("t"): lambda m: m.tuple_of(m.pop_mark()),
    ord(")"): lambda m: m.push(()),
    ord("u"): lambda m: (m.pop_mark(), None)[1],
    ord("G"): _skip(8),
    0x80: _protocol,
    0x81: _call("NEWOBJ"),
    0x82: _extension(1),
    0x83: _extension(2),
    0x84: _extension(4),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    0x88: _unknown,
    0x89: _unknown,
    0x8A: _skip_counted(1),
    0x8B: _skip_counted(4),
    ord("B"): _raw(4),
    ord("C"): _raw(1),
    0x8C: _text(1),
    0x8D: _text(8),
    0x8E: _raw(8),
    0x8F: _unknown,
    0x90: lambda m: (m.pop_mark(), None)[1],
    0x91: _from_mark,
    0x92: _call("NEWOBJ_EX", 2),
    0x93: _stack_global,
    0x94: _memoize,
    0x95: _frame,
    0x96: _raw(8),
    0x97: _unknown,
    0x98: _nothing,
}
