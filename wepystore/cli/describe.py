"""Entries in words: from manifests and headers of .npy files alone; nothing is unpickled (S9)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from wepystore.cli.common import cut, size_text, time_text
from wepystore.errors import DamagedError
from wepystore.records.circumstances import circumstances_of
from wepystore.store import Ref, Store, formats, whereabouts
from wepystore.store.arrays import npy_header
from wepystore.store.attachments import read_attachments
from wepystore.store.errors import BadJSONError
from wepystore.store.files import open_plain
from wepystore.store.manifests import plain, walkers_of
from wepystore.store.names import ONE, REFERENCE, EntryRef, is_ref, references
from wepystore.store.runs import recording_of

# Values longer than this are cut in the text; --json has them whole.
_WIDTH = 72
# Nor are values deeper than this taken apart, or more than so many items of a list.
_DEEPEST, _SHOWN = 40, 20


def lines(store: Store, kind: str, md5: str) -> Iterator[str]:
    """The text of `wepy show` for one entry, without its heading. Raises as Store.manifest."""
    if kind == "objects":
        yield _object(store, Ref(md5, "", store.size(kind, md5) or 0))
        return
    manifest = store.manifest(kind, md5)
    if formats.stands_for(manifest) is not None:
        of = f"{manifest['type']} {ONE[kind]}"
        yield f"{of}, {manifest['size']} bytes, pickled; shown without opening"
        return
    parts = store.references(kind, md5)
    pickled = sum(1 for _ in _pickles(manifest))
    if kind != "runs":
        size = size_text(sum(ref.size for _, ref in parts))
        yield f"{len(parts)} objects, {size}, {pickled} of them pickled"
    if kind == "snapshots":
        yield from _walkers(store, manifest)
    for key, value in manifest.items():
        if kind == "runs" and key == "execution":
            value = _with_short_times(value)
        if key not in ("type", "format", "walkers"):
            yield from _tree(store, key, value, 0)
    if kind == "runs":
        yield from _happened(happened(store, md5, manifest))
        spent = circumstances_of(manifest.get("execution")).cycle_s()
        if spent:
            yield _spent_text(spent)


def as_json(store: Store, kind: str, md5: str) -> dict[str, Any]:
    """The entry for programs: its manifest, and for each object its size and what it is."""
    if kind == "objects":
        size = store.size(kind, md5)
        return {"kind": kind, "hash": md5, "size": size, **_npy(store, md5)}
    manifest = store.manifest(kind, md5)
    pickled = {ref["md5"] for ref in _pickles(manifest)}
    objects = {
        ref.md5: {
            "size": ref.size,
            "here": store.size(part, ref.md5) == ref.size,
            "pickled": ref.md5 in pickled,
            **_npy(store, ref.md5),
        }
        for part, ref in store.references(kind, md5)
        if part == "objects"
    }
    found = {"kind": kind, "hash": md5, "manifest": manifest, "objects": objects}
    return found | (happened(store, md5, manifest) if kind == "runs" else {})


def _npy(store: Store, md5: str) -> dict[str, Any]:
    header = _header(store, md5)
    return {} if header is None else {"dtype": header[0], "shape": list(header[1])}


def _header(store: Store, md5: str) -> tuple[str, tuple[int, ...]] | None:
    try:
        with open(open_plain(store.file("objects", md5)), "rb") as file:
            return npy_header(file.read(4096))
    except (OSError, DamagedError):
        # Whoever needs it says what is wrong with it.
        return None


def _walkers(store: Store, manifest: dict[str, Any]) -> Iterator[str]:
    walkers = walkers_of(manifest)
    weights = walkers.weights
    if weights:
        yield (
            f"{len(weights)} walkers, weights {min(weights):.4g} to {max(weights):.4g}, "
            f"sum {sum(weights):.12g}"
        )
    if walkers.states is not None:
        different = len(set(walkers.states))
        yield "1 state" if different == 1 else f"{different} different states"
    for fields in walkers.fields:
        for name, ref in sorted(fields.items()):
            yield f"  {name}: {_object(store, Ref.from_json(ref, name), name)}"


def happened(store: Store, md5: str, record: dict[str, Any]) -> dict[str, Any]:
    """What there is to tell of what happened in a run: `sampled_ps`, `n_warped`; `attachments`, if
    there are any; and `recorded`, of a recording that is here its cycles, bytes and tables, else
    None."""
    how, n_cycles = circumstances_of(record.get("execution")), record.get("n_cycles")
    sampled = how.sampled_ps(n_cycles, record.get("n_steps")) if type(n_cycles) is int else None
    found: dict[str, Any] = {"sampled_ps": sampled, "n_warped": how.n_warped}
    entry = recording_of(record, store.locate("runs", md5))
    attached = read_attachments(store).get(md5, ())
    if attached:
        found["attachments"] = [each.md5 for each in attached]
    if entry is None and attached:
        # Where they differ none counts.
        entry = attached[0].recording
        if any(each.recording != entry for each in attached):
            return found | {"recorded": None}
    if entry is None:
        return found
    return found | {"recorded": _recorded(store, entry)}


def _recorded(store: Store, entry: EntryRef) -> dict[str, Any] | None:
    """Cycles, bytes and tables of a recording; None if it is not here."""
    if store.size(entry.kind, entry.md5) is None:
        return None
    manifest = store.manifest(entry.kind, entry.md5, entry.ref)
    columns = manifest.get("columns")
    names = [str(each) for each in columns] if isinstance(columns, list) else []
    parts = set(references(manifest.get("tables"), f"recording {entry.md5}"))
    frames = _frames(store, manifest, f"recording {entry.md5}")
    return {
        "n_cycles": manifest.get("n_cycles"),
        "bytes": sum(ref.size for _, ref in parts) + (frames["bytes"] if frames else 0),
        "tables": [*dict.fromkeys(n.partition("/")[0] for n in names if "/" in n)],
        "frames": frames,
    }


def attached_bytes(store: Store) -> dict[str, int]:
    """For each run that a recording is attached to, and one only, its size. What is damaged is left
    out."""
    found = {}
    with suppress(DamagedError):
        for run, attached in read_attachments(store).items():
            entry = attached[0].recording
            recorded = _recorded(store, entry)
            if recorded is not None and all(each.recording == entry for each in attached):
                found[run] = recorded["bytes"]
    return found


def with_attached(record: dict[str, Any], n_bytes: int | None) -> dict[str, Any]:
    """A run's record that tells of a recording that is attached, if it has none itself."""
    how = record.get("execution")
    if n_bytes is None or "recording" in record or not isinstance(how, dict):
        return record
    return {**record, "execution": {**how, "recorded_bytes": n_bytes}}


#: What a recording says of its frames in numbers and words (records.frames.FramesSummary, whose
#: room brings pickle with it).
_OF_FRAMES = {"n_atoms": (int, type(None)), "every": (int,), "precision": (str,), "n_bytes": (int,)}


def _frames(store: Store, manifest: dict[str, Any], where: str) -> dict[str, Any] | None:
    """What a recording tells of its frames, and whether they are here; None for one without."""
    told = manifest.get("frames")
    if told is None:
        return None
    entry = EntryRef.from_json(told.get("entry") if isinstance(told, dict) else None, where)
    fields = told.get("fields")
    if not isinstance(fields, list) or not all(isinstance(name, str) for name in fields):
        raise BadJSONError(what=where, why="the fields of its frames are no names")
    for name, kinds in _OF_FRAMES.items():
        if type(told.get(name)) not in kinds:
            raise BadJSONError(what=where, why=f"{name} of its frames is no such value")
    here = store.size(entry.kind, entry.md5) is not None
    return {
        "fields": fields,
        **{name: told[name] for name in ("n_atoms", "every", "precision")},
        "bytes": told["n_bytes"],
        "here": here,
        "seen_at": [] if here else whereabouts.places_of(store, [entry.md5]),
    }


def _happened(told: dict[str, Any]) -> Iterator[str]:
    if told["sampled_ps"] is not None:
        yield f"sampled: {time_text(told['sampled_ps'])}"
    if told["n_warped"] is not None:
        yield f"warps: {told['n_warped']}"
    if "attachments" in told:
        yield f"attached: {', '.join(told['attachments'])}"
    if "recorded" in told and told["recorded"] is None:
        several = len(told.get("attachments", ())) > 1
        yield "recorded: attachments that differ" if several else "recorded: not here"
    elif "recorded" in told:
        held = told["recorded"]
        tables = _cut(", ".join(["weights", *held["tables"]]))
        yield f"recorded: {_cut(held['n_cycles'])} cycles, {size_text(held['bytes'])}; {tables}"
        yield f"frames: {_frames_text(held['frames'])}"


def _with_short_times(execution: Any) -> Any:
    """As a record has it, and of the tables of times how large they are; what they tell in all has
    a line of its own (_spent_text)."""
    times = circumstances_of(execution).times
    if not isinstance(times, dict):
        return execution
    size = size_text(sum(ref.size for _, ref in references(times)))
    return {**execution, "times": f"of {_cut(times.get('n_cycles'))} cycles, {size}"}


def _spent_text(spent: dict[str, float]) -> str:
    total = sum(spent.values())
    # The largest first; what is nothing beside it is left out.
    parts = sorted(((seconds / (total or 1.0), name) for name, seconds in spent.items()))[::-1]
    shares = ", ".join(f"{n.removesuffix('_s')} {part:.0%}" for part, n in parts if part > 0.005)
    return _cut(f"mean cycle: {total:.3g} s; {shares}")


def _frames_text(frames: dict[str, Any] | None) -> str:
    if frames is None:
        return "none"
    fields = _cut(", ".join(frames["fields"]))
    atoms = "" if frames["n_atoms"] is None else f" of {frames['n_atoms']} atoms"
    every = "" if frames["every"] == 1 else f", every {frames['every']} cycles"
    here = "" if frames["here"] else ", elsewhere"
    if frames["seen_at"]:
        # Whole, to be typed again.
        here += f": {frames['seen_at'][0]}"
    return (
        f"{fields}{atoms}{every}, {_cut(frames['precision'])}, {size_text(frames['bytes'])}{here}"
    )


def _object(store: Store, ref: Ref, field: str = "") -> str:
    header = _header(store, ref.md5)
    text = f"object {ref.md5[:8]}…, {size_text(ref.size)}"
    if header is not None:
        dtype, shape = header
        atoms = f", {shape[1]} atoms" if field == "positions" and len(shape) == 3 else ""
        text = f"array {'×'.join(map(str, shape)) or 'scalar'} {dtype}{atoms}, {text}"
    if store.size("objects", ref.md5) is None:
        text += ", MISSING"
    return text


def _tree(store: Store, name: str, value: Any, depth: int) -> Iterator[str]:
    """A value of a manifest: components with their parameters, one a line, indented."""
    label = "  " * depth + name
    is_dict = isinstance(value, dict) and depth < _DEEPEST
    line = _in_one_line(store, name, value) if is_dict else None
    key, inner = next(iter(value.items())) if is_dict and len(value) == 1 else ("", None)
    if line is not None:
        yield f"{label}: {line}"
    elif key == "component" and isinstance(inner, dict):
        yield from _component(store, name, inner, depth)
    elif key in ("array", "text", "float"):
        yield from _tree(store, name, inner, depth)
    else:
        yield from _members(store, label, inner if key == "dict" else value, depth)


def _in_one_line(store: Store, name: str, value: dict[str, Any]) -> str | None:
    """What a dict stands for if it is an object, an entry, a pickle or an array."""
    if is_ref(value):
        return _object(store, Ref.from_json(value, name))
    if value.keys() == REFERENCE | {"kind"}:
        return str(value["md5"])
    if is_ref(value.get("pickle")):
        ref = Ref.from_json(value["pickle"], name)
        return f"PICKLED {_cut(value.get('of', ''))}, {_object(store, ref)}"
    array = value.get("array")
    if len(value) == 1 and isinstance(array, dict) and "shape" in array:
        return f"array {_cut(array.get('data'))}"
    return None


def _members(store: Store, label: str, value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, dict) and value and depth < _DEEPEST:
        yield f"{label}:"
        for key, inner in value.items():
            yield from _tree(store, key, inner, depth + 1)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        yield f"{label}:"
        for number, item in enumerate(value[:_SHOWN]):
            yield from _tree(store, f"[{number}]", item, depth + 1)
        if len(value) > _SHOWN:
            yield f"{'  ' * depth}  … and {len(value) - _SHOWN} more"
    else:
        yield f"{label}: {_cut(value)}"


def _component(store: Store, name: str, component: dict[str, Any], depth: int) -> Iterator[str]:
    yield f"{'  ' * depth}{name}: {_cut(component.get('class'))}"
    for part in ("params", "state"):
        values = component.get(part)
        if isinstance(values, dict):
            for key, inner in values.items():
                label = key if part == "params" else f"({part}) {key}"
                yield from _tree(store, label, inner, depth + 1)


def _pickles(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if is_ref(value.get("pickle")):
            yield value["pickle"]
        for inner in value.values():
            yield from _pickles(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pickles(inner)


def _cut(value: Any) -> str:
    # Only what is shown is turned into text: some lists are long.
    return cut(value if isinstance(value, str) else plain(value, 30), _WIDTH)
