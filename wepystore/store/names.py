"""Names: of the kinds of entries, of contents (MD5, SHA-256, size), of tags."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

from wepystore.store.errors import BadJSONError, MalformedHashError, MalformedTagError

# What has the buffer protocol: bytes, bytearray, memoryview, mmap, an array of numpy's. It has no
# type before Python 3.12.
Buffer = Any

# In the order of S4: what is named comes before what names it.
KINDS = ("objects", "configs", "snapshots", "frames", "recordings", "runs", "attachments")

# The word for one entry of a kind, as in messages.
ONE = {
    "objects": "object",
    "configs": "configuration",
    "snapshots": "snapshot",
    "frames": "frames",
    "recordings": "recording",
    "runs": "run",
    "attachments": "attachment",
}

# The file that makes a directory a store.
MARK = "wepystore.json"

_HEX = "0123456789abcdef"
_TAG = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+")
#: An entry: its kind and its hash.
Name = tuple[str, str]

#: The keys of a reference in a manifest.
REFERENCE = frozenset(("md5", "sha256", "size"))
_ENTRY_KEYS = REFERENCE | {"kind"}
_NESTED = frozenset((dict, list))
# Bytes; no file system has larger files.
_LARGEST = 1 << 63


class Ref(NamedTuple):
    """What a manifest says of an object: the MD5 is its name, the SHA-256 the proof (S3)."""

    md5: str
    sha256: str
    size: int

    @staticmethod
    def of(*pieces: Buffer) -> Ref:
        """Of bytes, or of the concatenation of several."""
        digest = Digest()
        for piece in pieces:
            digest.update(piece)
        return digest.ref()

    def to_json(self) -> dict[str, Any]:
        return {"md5": self.md5, "sha256": self.sha256, "size": self.size}

    @staticmethod
    def from_json(value: Any, what: str) -> Ref:
        """The Ref in a JSON value read from `what`; BadJSONError when it is not one."""
        if not isinstance(value, dict) or not value.keys() >= REFERENCE:
            raise BadJSONError(what=what, why="a reference lacks md5, sha256 or size")
        if value.keys() != REFERENCE:
            raise _with_more(value, what)
        return Ref._of(value, what)

    @staticmethod
    def _of(value: dict[str, Any], what: str) -> Ref:
        """The Ref in an object that has the keys of one, and perhaps a kind."""
        md5, sha256, size = value["md5"], value["sha256"], value["size"]
        # type(), not isinstance: True is an int.
        if type(size) is int and type(md5) is str and type(sha256) is str:
            found = _ref(md5, sha256, size)
            if found is not None:
                return found
        if not is_hash(md5):
            raise BadJSONError(what=what, why=f"{_short(md5)} is not an MD5")
        if not is_sha256(sha256):
            raise BadJSONError(what=what, why=f"{_short(sha256)} is not a SHA-256")
        raise BadJSONError(what=what, why=f"{_short(size)} is not a size")


class Digest:
    """The Ref of bytes that come piece by piece.

    Parameters
    ----------
    proof : bool
        Whether the SHA-256 is wanted too; without it the Ref has an empty one.
    """

    __slots__ = ("_md5", "_sha256", "_size")

    def __init__(self, proof: bool = True) -> None:
        import hashlib  # OpenSSL: what only lists names does not wait for it.

        # Not for security: FIPS builds of OpenSSL refuse MD5 otherwise.
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256() if proof else None
        self._size = 0

    def update(self, piece: Buffer) -> None:
        """Take the next bytes: of anything that has the buffer protocol."""
        self._md5.update(piece)
        if self._sha256 is not None:
            self._sha256.update(piece)
        self._size += memoryview(piece).nbytes

    def ref(self) -> Ref:
        """Of all bytes so far."""
        sha256 = self._sha256.hexdigest() if self._sha256 is not None else ""
        return Ref(self._md5.hexdigest(), sha256, self._size)


def md5_of(data: Buffer) -> str:
    """The name of these bytes; a Digest for each of thousands takes several times as long."""
    import hashlib

    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def difference(found: Ref, ref: Ref | None, md5: str) -> str:
    """What is wrong with a content that is not as its name or its Ref says, in words."""
    if ref is not None and found.size != ref.size:
        return f"it has {found.size} bytes and should have {ref.size}"
    if found.md5 != md5:
        return "its bytes do not have the MD5 it is named by"
    return "its MD5 is right but its SHA-256 is not: somebody has made a collision"


@functools.lru_cache(maxsize=1 << 12)
def _ref(md5: str, sha256: str, size: int) -> Ref | None:
    """A Ref if these can be one. Thousands of runs name a few snapshots and configurations."""
    fits = 0 <= size < _LARGEST and is_hash(md5) and is_sha256(sha256)
    return Ref(md5, sha256, size) if fits else None


class EntryRef(NamedTuple):
    """What a run record says of a snapshot or configuration: a Ref and its kind."""

    kind: str
    ref: Ref

    @property
    def md5(self) -> str:
        return self.ref.md5

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.ref.to_json()}

    @staticmethod
    def from_json(value: Any, what: str) -> EntryRef:
        """The EntryRef in a JSON value read from `what`; BadJSONError when it is not one."""
        if not isinstance(value, dict) or "kind" not in value:
            raise BadJSONError(what=what, why="a reference lacks its kind")
        kind = value["kind"]
        if value.keys() != _ENTRY_KEYS:
            Ref.from_json({key: value[key] for key in value if key != "kind"}, what)
        md5, sha256, size = value["md5"], value["sha256"], value["size"]
        # type(), not isinstance: True is an int.
        if type(size) is int and str is type(kind) is type(md5) is type(sha256):
            found = _entry(kind, md5, sha256, size)
            if found is not None:
                return found
        Ref._of(value, what)
        raise BadJSONError(what=what, why=f"{_short(kind)} is no kind of entry")


@functools.lru_cache(maxsize=1 << 12)
def _entry(kind: str, md5: str, sha256: str, size: int) -> EntryRef | None:
    """An EntryRef if these can be one, as _ref."""
    ref = _ref(md5, sha256, size)
    return EntryRef(kind, ref) if ref is not None and kind in KINDS else None


def _with_more(value: dict[str, Any], what: str) -> BadJSONError:
    more = ", ".join(map(_short, sorted(value.keys() - _ENTRY_KEYS)[:4])) or "'kind'"
    why = f"a reference has keys that none has: {more}"
    return BadJSONError(what=what, why=why)


def references(manifest: Any, what: str = "a manifest") -> Iterator[tuple[str, Ref]]:
    """Every (kind, Ref) that a manifest or record names, in the order of its keys, once each.

    An object with exactly the keys md5, sha256 and size names an object; with `kind` as well, an
    entry of that kind. BadJSONError, naming `what`, when one of them is malformed, or has more
    keys: what one reader takes for a reference no other may overlook.
    """
    seen: set[tuple[str, Ref]] = set()
    stack = [manifest]
    while stack:
        value = stack.pop()
        # JSON has no other types than these; most numbers and texts are passed over here.
        if type(value) is list:
            stack += [item for item in reversed(value) if type(item) in _NESTED]
            continue
        if type(value) is not dict:
            continue
        if "sha256" not in value:
            inner = [key for key in value if type(value[key]) in _NESTED]
            inner.sort(reverse=True)
            stack += [value[key] for key in inner]
            continue
        if value.keys() == REFERENCE:
            found = ("objects", Ref.from_json(value, what))
        elif value.keys() == _ENTRY_KEYS:
            found = EntryRef.from_json(value, what)
        elif value.keys() >= REFERENCE:
            raise _with_more(value, what)
        else:
            stack += [value[key] for key in sorted(value, reverse=True)]
            continue
        if found not in seen:
            seen.add(found)
            yield found


def is_hash(text: Any) -> bool:
    """Whether this is the name of an entry: 32 lower-case hex digits."""
    return isinstance(text, str) and len(text) == 32 and not text.strip(_HEX)


def is_ref(value: Any) -> bool:
    """Whether a JSON value has the form of what a manifest says of an object (see Ref)."""
    return isinstance(value, dict) and value.keys() == REFERENCE


def is_sha256(text: Any) -> bool:
    """Whether this is a SHA-256: 64 lower-case hex digits."""
    return isinstance(text, str) and len(text) == 64 and not text.strip(_HEX)


def path_of(kind: str, md5: str) -> str:
    """Where an entry is in any store, relative to it. ValueError for what is no kind."""
    if kind not in ONE:
        raise ValueError(f"{kind!r} is no kind of entry")
    return f"{kind}/{md5[:2]}/{md5}{'.json' if kind == 'runs' else ''}"


def is_hex(text: str) -> bool:
    """Whether all characters are lower-case hex digits (at least one)."""
    return bool(text) and not text.strip(_HEX)


def check_hash(text: str) -> str:
    """The text itself if it is a full hash, else MalformedHashError."""
    if not is_hash(text):
        raise MalformedHashError(text=text, why=hash_fault(text))
    return text


def hash_fault(text: str) -> str:
    """Why this is not a full hash, in words."""
    for place, character in enumerate(text, start=1):
        if character not in _HEX:
            return f"character {place}, {character!r}, is not a lower-case hex digit"
    return f"it has {len(text)} of the 32 hex digits of a hash"


def check_tag(text: str) -> str:
    """The text itself if it may be a tag (and so a file name), else MalformedTagError."""
    why = ""
    if not text:
        why = "it is empty"
    elif len(text) > 100:
        why = "it is longer than 100 characters"
    elif not _TAG.issuperset(text):
        odd = next(character for character in text if character not in _TAG)
        why = f"{odd!r} is not one of the letters, digits, '.', '_', '-' and '+' it is made of"
    elif text[0] in ".-+":
        why = f"it begins with {text[0]!r}"
    elif text == "default":
        why = "that word stands for the store's default"
    elif len(text) >= 4 and is_hex(text.lower()):
        why = "it could be mistaken for a hash; add a letter beyond f, or a '-'"
    if why:
        raise MalformedTagError(text=text, why=why)
    return text


def is_tag(text: str) -> bool:
    """Whether this may be a tag."""
    try:
        check_tag(text)
    except MalformedTagError:
        return False
    return True


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 44 else text[:40] + "…"
