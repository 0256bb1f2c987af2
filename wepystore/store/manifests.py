"""A manifest or run record that was read: once, with all that whoever has it may ask for next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from wepystore.store import formats
from wepystore.store.errors import BadJSONError
from wepystore.store.names import Ref, is_ref, references


class Manifest(NamedTuple):
    """A snapshot, a configuration or a run record, its bytes verified.

    Attributes
    ----------
    kind : str
    data : bytes
    value : dict
        The JSON object; of one in another program's format what stands in for it (formats.py).
    fetch : callable
        The verified bytes of an object that it names, by its Ref.
    what : str
        What messages call it.
    """

    kind: str
    data: bytes
    value: dict[str, Any]
    fetch: Callable[[Ref], bytes]
    what: str

    @classmethod
    def of(cls, kind: str, data: bytes, fetch: Callable[[Ref], bytes], what: str) -> Manifest:
        """The one in these bytes. Raises BadJSONError."""
        return cls(kind, data, formats.manifest_of(kind, data, what), fetch, what)

    @classmethod
    def among(
        cls, entries: Mapping[tuple[str, str], bytes], kind: str, md5: str, what: str
    ) -> Manifest:
        """The one in the entries that exports.read gives."""

        def fetch(ref: Ref) -> bytes:
            # Only these were verified: what a reference of another form says may be a lie.
            if ("objects", ref) not in known:
                why = f"a reference to {ref.md5} is not as it should be"
                raise BadJSONError(what=what, why=why)
            return entries["objects", ref.md5]

        found = cls.of(kind, entries[kind, md5], fetch, what)
        known = set(found.parts())
        return found

    @property
    def ref(self) -> Ref:
        """Of itself."""
        return Ref.of(self.data)

    def parts(self) -> list[tuple[str, Ref]]:
        """What it names: (kind, Ref), once each. Raises BadJSONError."""
        return list(references(self.value, self.what))


class Walkers(NamedTuple):
    """What a snapshot tells of its walkers. It may be a stranger's: None is what is not as it
    should be.

    Attributes
    ----------
    weights : list of float or None
    states : list of int or None
        For each walker the number of its state.
    fields : list of dict
        For each group of states the name of each of its stacks, and the JSON of the stack's Ref.
    """

    weights: list[float] | None = None
    states: list[int] | None = None
    fields: Sequence[dict[str, Any]] = ()


def walkers_of(manifest: Mapping[str, Any]) -> Walkers:
    """What a manifest tells of walkers: nothing if it is no snapshot's."""
    held = manifest.get("walkers")
    if not isinstance(held, dict):
        return Walkers()
    groups = held.get("groups", [held])
    groups = groups if isinstance(groups, list) else []
    found = [group.get("fields") for group in groups if isinstance(group, dict)]
    return Walkers(
        _all(held.get("weights"), _is_weight),
        _all(held.get("states"), lambda k: type(k) is int),
        [
            {name: ref for name, ref in fields.items() if is_ref(ref)}
            for fields in found
            if isinstance(fields, dict)
        ],
    )


def _all(value: Any, fits: Callable[[Any], bool]) -> list[Any] | None:
    return value if isinstance(value, list) and all(map(fits, value)) else None


def _is_weight(value: Any) -> bool:
    # Greater whole numbers than any double are no weights; they cannot even be made one.
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**63)


def plain(value: Any, most: int | None = None) -> str:
    """A value of a manifest as people read it; of a list at most so many items."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"[{', '.join(plain(item, most) for item in value[:most])}]"
    return str(value)
