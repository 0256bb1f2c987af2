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
    Blob,
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


def _old_text(machine: Machine, blob: Blob) -> None:
    """Python 2's strings: text where they are names, and bytes that may be a pickle."""
    text = machine.text(blob)
    machine.raw(blob)
    if isinstance(text, str):
        machine.stack[-1] = text


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


def _call(machine: Machine, how: str, _keywords: object = None) -> None:
    arguments = machine.pop()
    machine.call(how, machine.pop(), arguments)


def _extension(machine: Machine, code: int) -> None:
    machine.counts["EXT"] += 1
    machine.look_up(None, f"extension {code}")


def _persistent(machine: Machine, _name: Any) -> None:
    machine.counts["PERSID"] += 1
    machine.push(UNKNOWN)


def _build(machine: Machine) -> None:
    machine.pop()
    machine.counts["BUILD"] += 1
    if not machine.stack:
        raise StopReading(f"byte {machine.place}: a state is given to nothing")


def _protocol(machine: Machine) -> None:
    machine.protocol = machine.number(1)
    if machine.protocol > 5:
        raise StopReading(f"it says that it has protocol {machine.protocol}, which is not known")


def _duplicate(machine: Machine) -> None:
    value = machine.pop()
    machine.push(value)
    machine.push(value)


def _tuple(machine: Machine, count: int) -> None:
    machine.tuple_of([machine.pop() for _ in range(count)][::-1])


# What is not followed has its argument read, and UNKNOWN in its place.
ACTIONS: dict[int, Action] = {
    ord("("): lambda m: m.push(MARK),
    ord("0"): lambda m: m.pop(),
    ord("1"): lambda m: m.pop_mark(),
    ord("2"): _duplicate,
    ord("F"): lambda m: m.unknown(m.line()),
    ord("I"): lambda m: m.unknown(m.line()),
    ord("J"): lambda m: m.unknown(m.take(4)),
    ord("K"): lambda m: m.unknown(m.take(1)),
    ord("L"): lambda m: m.unknown(m.line()),
    ord("M"): lambda m: m.unknown(m.take(2)),
    ord("N"): lambda m: m.unknown(),
    ord("P"): lambda m: _persistent(m, m.line()),
    ord("Q"): lambda m: _persistent(m, m.pop()),
    ord("R"): lambda m: _call(m, "REDUCE"),
    ord("S"): _quoted,
    ord("T"): lambda m: _old_text(m, m.counted(4)),
    ord("U"): lambda m: _old_text(m, m.counted(1)),
    ord("V"): _escaped,
    ord("X"): lambda m: m.push(m.text(m.counted(4))),
    # What goes into a container, which itself is not followed.
    ord("a"): lambda m: m.pop(),
    ord("b"): _build,
    ord("c"): _global,
    ord("d"): lambda m: m.unknown(m.pop_mark()),
    ord("}"): lambda m: m.unknown(),
    ord("e"): lambda m: m.pop_mark(),
    ord("g"): lambda m: m.get(m.index()),
    ord("h"): lambda m: m.get(m.number(1)),
    ord("i"): _inst,
    ord("j"): lambda m: m.get(m.number(4)),
    ord("l"): lambda m: m.unknown(m.pop_mark()),
    ord("]"): lambda m: m.unknown(),
    ord("o"): _obj,
    ord("p"): lambda m: m.put(m.index()),
    ord("q"): lambda m: m.put(m.number(1)),
    ord("r"): lambda m: m.put(m.number(4)),
    ord("s"): lambda m: (m.pop(), m.pop()),
    ord("t"): lambda m: m.tuple_of(m.pop_mark()),
    ord(")"): lambda m: m.push(()),
    ord("u"): lambda m: m.pop_mark(),
    ord("G"): lambda m: m.unknown(m.take(8)),
    0x80: _protocol,
    0x81: lambda m: _call(m, "NEWOBJ"),
    0x82: lambda m: _extension(m, m.number(1)),
    0x83: lambda m: _extension(m, m.number(2)),
    0x84: lambda m: _extension(m, m.number(4)),
    0x85: lambda m: _tuple(m, 1),
    0x86: lambda m: _tuple(m, 2),
    0x87: lambda m: _tuple(m, 3),
    0x88: lambda m: m.unknown(),
    0x89: lambda m: m.unknown(),
    0x8A: lambda m: m.unknown(m.counted(1)),
    0x8B: lambda m: m.unknown(m.counted(4)),
    ord("B"): lambda m: m.raw(m.counted(4)),
    ord("C"): lambda m: m.raw(m.counted(1)),
    0x8C: lambda m: m.push(m.text(m.counted(1))),
    0x8D: lambda m: m.push(m.text(m.counted(8))),
    0x8E: lambda m: m.raw(m.counted(8)),
    0x8F: lambda m: m.unknown(),
    0x90: lambda m: m.pop_mark(),
    0x91: lambda m: m.unknown(m.pop_mark()),
    # The keywords are on top, and are not followed.
    0x92: lambda m: _call(m, "NEWOBJ_EX", m.pop()),
    0x93: _stack_global,
    0x94: lambda m: m.put(len(m.memo)),
    # Frames only group the reading; Python's own reader does not even check their lengths.
    0x95: lambda m: m.number(8),
    0x96: lambda m: m.raw(m.counted(8)),
    0x97: lambda m: m.unknown(),
    # A mark that a buffer is read-only.
    0x98: lambda m: None,
}
