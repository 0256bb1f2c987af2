"""The stack machine that a pickle is a program for, as far as it can be followed unrun.

See wepystore.store.pickles.opcodes, which has its instructions. Its stack holds, of each value,
what is known of it: a str, a tuple, a Name, a Blob of raw bytes, a Call, or UNKNOWN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from wepystore.store.pickles.reading import NAMES, THE_MODULE, Function, Name

# Bounds on what hostile input may make this do; people's own classes take a few thousand steps.
MAX_TEXT = 500
MAX_ITEMS = 1000

STOP = ord(".")

# Calls whose words are shown, for they say what is reached: "getattr('system')".
_TELLING = NAMES | {"_get_attr", "_load_type", "setattr"}

# What these import is as good as looked up.
_IMPORTING = frozenset(("_import_module", "import_module", "__import__"))

# dill's ways to make what the pickle brings along.
_CODE = frozenset(("_create_code", "CodeType", "code"))
_MAKING = frozenset(("_create_type", "_create_namedtuple"))


class Call(NamedTuple):
    """What a call of a name would give."""

    target: Name | None


class Blob(NamedTuple):
    """Raw bytes: where they are in the pickle."""

    start: int
    end: int


class _Unknown:
    """What is not followed. One for all, so that hostile input cannot fill the memory."""


UNKNOWN = _Unknown()
MARK = _Unknown()


class StopReading(Exception):
    """The pickle cannot be read on; says why."""


#: What one instruction does; what it gives is of no use.
Action = Callable[["Machine"], object]


class Machine:
    """Goes through one pickle. The stack holds what is known of each value."""

    def __init__(self, data: memoryview, budget: list[int]) -> None:
        self.data = data
        self.place = 0
        self.budget = budget
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.protocol = 0
        self.names: Counter[Name] = Counter()
        self.counts: Counter[str] = Counter()
        self.functions: list[Function] = []
        self.words: list[str] = []
        self.blobs: dict[Blob, None] = {}
        self.problems: dict[str, None] = {}

    def run(self, actions: Mapping[int, Action]) -> dict[str, None]:
        """Read to the end; what could not be followed."""
        data, end = self.data, len(self.data)
        try:
            while True:
                if self.place >= end:
                    raise StopReading("it ends without a STOP")
                if self.budget[0] <= 0:
                    raise StopReading(
                        f"only its first {self.place} bytes were read: it has too many instructions"
                    )
                self.budget[0] -= 1
                code = data[self.place]
                self.place += 1
                if code == STOP:
                    break
                action = actions.get(code)
                if action is None:
                    raise StopReading(f"byte {self.place - 1}, {code:#04x}, is no instruction")
                action(self)
        except StopReading as problem:
            self.problems[str(problem)] = None
        else:
            if self.place < end:
                self.problems[f"{end - self.place} bytes follow its end"] = None
        return self.problems

    # ---- arguments

    def take(self, size: int) -> Blob:
        """The next `size` bytes, which must be there."""
        start = self.place
        if size > len(self.data) - start:
            raise StopReading(f"byte {start}: {size} bytes are announced and not there")
        self.place += size
        return Blob(start, self.place)

    def number(self, width: int) -> int:
        blob = self.take(width)
        return int.from_bytes(self.data[blob.start : blob.end], "little")

    def counted(self, width: int) -> Blob:
        """As many bytes as a number of `width` bytes before them says."""
        return self.take(self.number(width))

    def line(self) -> bytes:
        """Up to the end of the line; what is longer than MAX_TEXT is cut."""
        start = self.place
        while True:
            # By pieces: a memoryview has no find, and a copy of all that follows would cost
            # quadratic time over many short lines.
            piece = bytes(self.data[self.place : self.place + 256])
            if not piece:
                raise StopReading(f"byte {start}: a line is begun and not ended")
            found = piece.find(b"\n")
            if found >= 0:
                end = self.place + found
                self.place = end + 1
                return bytes(self.data[start : min(end, start + MAX_TEXT + 1)])
            self.place += len(piece)

    def text(self, blob: Blob) -> Any:
        """Text as it is, if it may be a name; long text is not followed."""
        if blob.end - blob.start > MAX_TEXT:
            return UNKNOWN
        return bytes(self.data[blob.start : blob.end]).decode("utf-8", "backslashreplace")

    def index(self) -> int:
        """A memo index as protocol 0 writes it."""
        text = self.line()
        try:
            return int(text if len(text) <= MAX_TEXT else b"")
        except ValueError:
            raise StopReading(f"byte {self.place}: {short(text)} is no index") from None

    # ---- stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def unknown(self, _argument: object = None) -> None:
        """A value that is not followed."""
        self.push(UNKNOWN)

    def pop(self) -> Any:
        if not self.stack:
            raise StopReading(f"byte {self.place}: something is taken from an empty stack")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """All above the topmost mark. The mark goes too."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is MARK:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise StopReading(f"byte {self.place}: a mark is sought and not there")

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise StopReading(f"byte {self.place}: memo {index} was never filled")
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        if not self.stack:
            raise StopReading(f"byte {self.place}: something is remembered from an empty stack")
        self.memo[index] = self.stack[-1]

    def tuple_of(self, items: list[Any]) -> None:
        # Longer ones are data, or an attack on our memory.
        self.push(tuple(items) if len(items) <= MAX_ITEMS else UNKNOWN)

    # ---- what matters

    def look_up(self, module: Any, name: Any) -> None:
        """A name is fetched from a module."""
        known = Name(
            module if isinstance(module, str) else None, name if isinstance(name, str) else None
        )
        if None in known:
            self.problems["a name is put together in a way that only loading can tell"] = None
        if known not in self.names and len(self.names) >= MAX_ITEMS:
            raise StopReading(f"it looks up more than {MAX_ITEMS} names")
        self.names[known] += 0
        self.push(known)

    def call(self, how: str, target: Any, arguments: Any) -> None:
        """Something is called with a tuple of arguments."""
        self.counts[how] += 1
        items = arguments if isinstance(arguments, tuple) and not _is_fact(arguments) else ()
        name = target if isinstance(target, Name) else None
        if isinstance(target, Call) and target.target is not None:
            # The instances of a class that the pickle brings along are nothing special.
            if how not in ("NEWOBJ", "NEWOBJ_EX") or target.target.name not in _MAKING:
                self.problems[f"what {target.target} gives is called"] = None
        elif name is None:
            self.problems["something is called that only loading can tell"] = None
        if name is not None:
            self.names[name] += 1
            self._note(name, items)
        self.push(Call(name))

    def _note(self, name: Name, items: tuple[Any, ...]) -> None:
        last = (name.name or "").rpartition(".")[2]
        if len(self.functions) < MAX_ITEMS and last in _CODE:
            self.functions.append(_function(items))
        if last in _IMPORTING:
            module = items[0] if items and isinstance(items[0], str) else None
            self.look_up(module, THE_MODULE)
            self.pop()
        if last in _TELLING and len(self.words) < MAX_ITEMS:
            words = [item for item in items if isinstance(item, str)]
            if words:
                shown = ", ".join(short(word) for word in words[:5])
                self.words.append(f"{name}({shown})")
        if last in ("loads", "load"):
            for item in items[:1]:
                if isinstance(item, Blob):
                    self.blobs[item] = None

    def raw(self, blob: Blob) -> None:
        """Bytes: perhaps a pickle themselves."""
        data = self.data
        if (
            blob.end - blob.start >= 4
            and data[blob.start] == 0x80
            and data[blob.start + 1] <= 5
            and data[blob.end - 1] == STOP
            and len(self.blobs) < MAX_ITEMS
        ):
            self.blobs[blob] = None
        self.push(blob)


def _is_fact(value: Any) -> bool:
    # These are tuples to Python; to the machine they are something else.
    return isinstance(value, Name | Call | Blob)


def _function(items: tuple[Any, ...]) -> Function:
    """The code object that a call of dill's _create_code would make.

    The order is …, code, constants, names, variables, file, name, qualified name, …; how many
    numbers come before depends on the version of Python, and the line table may be first.
    """
    code = next((k for k, item in enumerate(items) if k >= 4 and isinstance(item, Blob)), None)
    if code is None:
        return Function("?", (), ())
    rest = items[code + 1 : code + 7]
    constants, names = (_texts(item) for item in (*rest[:2], (), ())[:2])
    labels = [item for item in rest[4:] if isinstance(item, str)]
    label = labels[-1] if labels else "?"
    return Function(label if len(label) <= 80 else label[:79] + "…", names, constants)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, tuple) or _is_fact(value):
        return ()
    return tuple(item for item in value if isinstance(item, str))


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
