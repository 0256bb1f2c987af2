"""Where encoded objects go (values.Sink) besides the batch of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wepystore.engine.component import Text
from wepystore.records.trust import made_here
from wepystore.records.values import Bytes, Sink
from wepystore.store.errors import MD5CollisionError
from wepystore.store.names import Name, Ref
from wepystore.store.pickles.pickled import may_run_code


class Memory:
    """A sink that keeps what it is given: entries by kind and MD5. As a store does, it raises
    MD5CollisionError for a second content of one MD5 (S3)."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], bytes] = {}

    def put(self, kind: str, data: Any) -> Ref:
        joined = _whole(data)
        ref = Ref.of(joined)
        if self.entries.setdefault((kind, ref.md5), joined) != joined:
            raise MD5CollisionError(md5=ref.md5, kind=kind, path="memory")
        return ref

    def put_text(self, text: Text) -> Ref:
        return self.put("objects", text.encode())

    def put_many(self, kind: str, many: Sequence[Any]) -> list[Ref]:
        return [self.put(kind, data) for data in many]


class Remembering:
    """A sink in front of another that puts each long text only once, and notes what it has put.

    A checkpoint names the same system and topology as the one before; a large
    system's XML takes longer to hash than its coordinates. `known` outlives the
    batches it is used with; it must only ever be used with one store.

    Attributes
    ----------
    entries : list of (str, str)
        What went through it, by kind and MD5.
    """

    def __init__(self, sink: Bytes, known: dict[Text, Ref]) -> None:
        self._sink = sink
        self._known = known
        self.entries: list[Name] = []

    def put(self, kind: str, data: Any) -> Ref:
        return self.put_many(kind, [data])[0]

    def put_many(self, kind: str, many: Sequence[Any]) -> list[Ref]:
        refs = self._sink.put_many(kind, many)
        self.entries += [(kind, ref.md5) for ref in refs]
        return refs

    def put_text(self, text: Text) -> Ref:
        # A str caches its hash, so finding the very same text again costs nothing.
        ref = self._known.get(text)
        if ref is None:
            data = text.encode()
            _note_maker(data)
            ref = self._known[text] = self.put("objects", data)
        return ref


class Held:
    """A sink that keeps what it is given, until it is put into another one.

    Parameters
    ----------
    refs : {Text: Ref}
        Of long texts, which are hashed once; it outlives the sink.
    """

    def __init__(self, refs: dict[Text, Ref]) -> None:
        self._refs = refs
        self._held: list[tuple[str, bytes]] = []
        self._texts: list[Text] = []

    def put(self, kind: str, data: Any) -> Ref:
        held = _whole(data)
        self._held.append((kind, held))
        return Ref.of(held)

    def put_many(self, kind: str, many: Sequence[Any]) -> list[Ref]:
        return [self.put(kind, data) for data in many]

    def put_text(self, text: Text) -> Ref:
        self._texts.append(text)
        if text not in self._refs:
            data = text.encode()
            _note_maker(data)
            self._refs[text] = Ref.of(data)
        return self._refs[text]

    def refs(self) -> dict[Text, Ref]:
        """Those of its texts: what another one of the same kind is to know."""
        return {text: self._refs[text] for text in self._texts}

    def put_into(self, sink: Sink) -> None:
        """Put all of it."""
        for text in self._texts:
            sink.put_text(text)
        for kind, data in self._held:
            sink.put(kind, data)


class Hashing:
    """Where bytes go that are wanted for their names: it keeps the last manifest of each kind, and
    no object."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}

    def put(self, kind: str, data: Any) -> Ref:
        pieces = [data] if isinstance(data, (bytes, memoryview)) else data
        if kind != "objects":
            self.manifests[kind] = b"".join(pieces)
        return Ref.of(*pieces)

    def put_many(self, kind: str, many: Sequence[Any]) -> list[Ref]:
        return [self.put(kind, data) for data in many]


def _whole(data: Any) -> bytes:
    return bytes(data) if isinstance(data, (bytes, memoryview)) else b"".join(data)


def _note_maker(data: bytes) -> None:
    """A text that may be a pickle is one that was made here."""
    if may_run_code(data):
        made_here(data)
