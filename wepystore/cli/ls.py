"""List the snapshots, configurations or runs of a store.

Usage:
  wepy ls (snapshots|configs|runs) [options] [ORCH]

Prints one hash a line, sorted; a run as 'START, END'. What is incomplete or damaged is listed
too, and reported on stderr (exit status 3). Of more than 10,000 snapshots or configurations
whether they are is found out only with --long or --json.

Options:
  -l --long  A table with more about each.
  --json     Print JSON.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli.common import (
    INCOMPLETE,
    date_text,
    names_of,
    no_circles,
    open_store,
    size_text,
    table,
    time_text,
)
from wepystore.cli.console import Console, one_line
from wepystore.cli.describe import attached_bytes, with_attached
from wepystore.errors import DamagedError
from wepystore.records.circumstances import circumstances_of
from wepystore.store import Store, carriers, formats, references
from wepystore.store.completeness import Completeness
from wepystore.store.errors import ElsewhereError
from wepystore.store.names import ONE
from wepystore.store.runs import Run, run_of

# Reading so many manifests takes about a second.
MANY = 10_000

_HEADINGS = {
    "snapshots": "HASH,WALKERS,SIZE,STATE,NAMES",
    "configs": "HASH,SIZE,STATE,NAMES",
    "runs": "START,END,CYCLES,CONFIG,BEGUN,SAMPLED,WARPS,RECORDED,ENDED BY,STATE,NAMES",
}

#: Of how a run came about.
_TOLD = (
    *("n_steps", "n_walkers", "step_size_ps", "sampled_ps", "n_warped", "n_cloned", "n_merged"),
    *("recorded_bytes", "begun", "wall_s", "job_name", "complete", "ended_by"),
)


@no_circles()
def main(args: dict[str, Any], console: Console) -> int:
    """List one kind."""
    store = open_store(args["ORCH"])
    kind = next(kind for kind in ("snapshots", "configs", "runs") if args[kind])
    hashes = store.hashes(kind)
    detailed = args["--long"] or args["--json"]
    if len(hashes) > MANY and kind != "runs" and not detailed:
        console.hashes(hashes)
        rest = f"wepy ls {kind} --long {store.path}"
        console.note(f"{len(hashes)} {kind}; '{rest}' looks whether they are complete")
        return 0
    names = names_of(store, console) if detailed else {}
    complete = Completeness(store)
    attached = attached_bytes(store) if kind == "runs" and detailed else {}
    items = [_item(store, kind, md5, complete, detailed, names, attached) for md5 in hashes]
    if kind == "runs":
        # By snapshots, as they are shown; the hash of the record settles the rest.
        items.sort(key=lambda item: (item.get("start", "~"), item.get("end", ""), item["hash"]))
    if args["--json"]:
        console.json(items)
    else:
        for line in _table(kind, items) if args["--long"] else _hashes(kind, items):
            console.out(line)
    return _warn_of([item for item in items if item["state"] != "complete"], kind, console)


def _warn_of(bad: list[dict[str, Any]], kind: str, console: Console) -> int:
    for item in bad:
        console.warn(f"{ONE[kind]} {item['hash']}: {item['why']}")
    return INCOMPLETE if bad else 0


def _item(
    store: Store,
    kind: str,
    md5: str,
    complete: Completeness,
    detailed: bool,
    names: dict[str, list[str]],
    attached: dict[str, int],
) -> dict[str, Any]:
    """What there is to say of an entry; "state" is complete, incomplete or damaged."""
    item: dict[str, Any] = {"hash": md5}
    if names:
        item["names"] = names.get(md5, [])
    try:
        what = store.locate(kind, md5)
        manifest = store.manifest(kind, md5)
        parts = list(references(manifest, what))
        if kind == "runs":
            run = run_of(manifest, md5, what)
            item.update(run._asdict())
            del item["md5"]
            if detailed:
                item.update(_circumstances(run, with_attached(manifest, attached.get(md5))))
        elif formats.stands_for(manifest) is not None:
            item.update(size=manifest["size"], format=manifest["type"])
        else:
            item["size"] = sum(ref.size for _, ref in parts)
        if kind == "snapshots" and "format" not in item:
            item["n_walkers"] = _count(manifest)
        missing = complete.lacking(parts, kind)
    except ElsewhereError as error:
        item.update(state="incomplete", why=str(error))
        return item
    except DamagedError as error:
        item.update(state="damaged", why=str(error))
        return item
    item["state"] = "incomplete" if missing else "complete"
    if missing:
        first = f"{ONE[missing[0][0]]} {missing[0][1].md5}"
        rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        way = carriers.way([store.file(part, ref.md5) for part, ref in missing])
        item["why"] = f"incomplete: {first}{rest} missing; {way}"
        item["missing"] = [{"kind": part, **ref.to_json()} for part, ref in missing]
    return item


def _circumstances(run: Run, record: dict[str, Any]) -> dict[str, Any]:
    how = circumstances_of(record.get("execution"))
    n_steps = record.get("n_steps")
    told = {
        **how._asdict(),
        "n_steps": n_steps if type(n_steps) is int else None,
        "sampled_ps": how.sampled_ps(run.n_cycles, n_steps),
        "ended_by": how.ended_by or how.stopped_by,
    }
    return {key: told[key] for key in _TOLD}


def _count(manifest: dict[str, Any]) -> int | None:
    walkers = manifest.get("walkers")
    weights = walkers.get("weights") if isinstance(walkers, dict) else None
    return len(weights) if isinstance(weights, list) else None


def _hashes(kind: str, items: list[dict[str, Any]]) -> list[str]:
    if kind == "runs":
        return [f"{item['start']}, {item['end']}" for item in items if "start" in item]
    return [item["hash"] for item in items]


def _table(kind: str, items: list[dict[str, Any]]) -> list[str]:
    heading = _HEADINGS[kind].split(",")
    return table([tuple(heading), *(_row(kind, item) for item in items)]) if items else []


def _row(kind: str, item: dict[str, Any]) -> tuple[str, ...]:
    state, names = item["state"], ", ".join(item.get("names", ()))
    size = size_text(item["size"]) if "size" in item else "?"
    if kind == "runs":
        if "start" not in item:
            return (item["hash"], *"????????", state, names)
        begun, sampled, n_warped = item["begun"], item["sampled_ps"], item["n_warped"]
        recorded = item["recorded_bytes"]
        return (
            *(str(item[key]) for key in ("start", "end", "n_cycles", "config")),
            "-" if begun is None else date_text(begun),
            "-" if sampled is None else time_text(sampled),
            "-" if n_warped is None else str(n_warped),
            "-" if recorded is None else size_text(recorded),
            one_line(item["ended_by"] or ("not ended" if item["complete"] is False else "-")),
            state,
            names,
        )
    if kind == "snapshots":
        return (item["hash"], str(item.get("n_walkers", "?")), size, state, names)
    return (item["hash"], size, state, names)
