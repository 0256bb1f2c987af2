"""What was run, in names and values: from records and manifests, of which nothing is executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wepystore.answers.study import Chain, Recorded
from wepystore.errors import WepystoreError
from wepystore.report.shown import plain
from wepystore.store import formats
from wepystore.store.store import Store

Facts = list[tuple[str, str]]

_PARTS = ("runner", "boundary_conditions", "resampler")
#: So many parameters of a component are told, and so many letters of each.
_MOST, _LONGEST = 8, 40


def facts_of(chain: Chain) -> Facts:
    """What a chain of runs was, in the order in which a reader asks."""
    last = chain.recorded[-1]
    record, how = last.record, last.record.execution
    found = [
        ("run", " → ".join(each.run for each in chain.recorded)),
        ("start", chain.recorded[0].record.start.md5),
        ("end", record.end.md5),
        ("configuration", record.config.md5),
        ("seed", ", ".join(_told(each.record.seed) for each in chain.recorded)),
        ("cycles", ", ".join(_cycles(each) for each in chain.recorded)),
        ("walkers", _told(how.n_walkers)),
        ("begun", _told(how.begun)),
        ("job", _told(how.job_name)),
        ("what was said of it", how.narration or ""),
        ("same bits when repeated", "yes" if record.reproducible else "no"),
        ("platform", _told(record.environment.get("platform"))),
        ("versions", _versions(record.environment)),
    ]
    return [(name, plain(value, 400)) for name, value in found if value not in ("", "None")]


def apparatus_of(store: Store, chain: Chain) -> Facts:
    """What the parts of the apparatus are, as the snapshot that the chain began from says it."""
    md5 = chain.recorded[0].record.start.md5
    try:
        manifest = store.manifest("snapshots", md5)
    except WepystoreError:
        return [("start", f"snapshot {md5} is not here, or not whole")]
    if formats.stands_for(manifest) is not None:
        return [("start", f"snapshot {md5} is one of wepy 1.x, which is not opened here")]
    parts = manifest.get("apparatus")
    parts = parts if isinstance(parts, dict) else {}
    found = [(name.replace("_", " "), component_text(parts.get(name))) for name in _PARTS]
    return [*found, *_system(chain.recorded[-1])]


def component_text(value: Any) -> str:
    """A component in one line: its class, and those of its parameters that are short."""
    if not isinstance(value, dict):
        return "none"
    if "pickle" in value:
        return plain(f"{value.get('of', 'an object')} (pickled)", 120)
    told = value.get("component")
    if not isinstance(told, dict):
        return "none"
    params = told.get("params")
    pairs = list(_scalars(params)) if isinstance(params, dict) else []
    inside = ", ".join(pairs[:_MOST]) + (", …" if len(pairs) > _MOST else "")
    return plain(f"{told.get('class')}({inside})", 400)


def _scalars(params: Mapping[str, Any]) -> Iterator[str]:
    for name, value in params.items():
        while isinstance(value, dict) and value.keys() in ({"float"}, {"dict"}, {"array"}):
            value = next(iter(value.values()))
        if isinstance(value, dict) and isinstance(value.get("component"), dict):
            yield f"{name}={value['component'].get('class')}"
        elif value is not None and isinstance(value, bool | int | float | str):
            yield f"{name}={plain(str(value), _LONGEST)}"
        elif isinstance(value, list) and all(isinstance(v, int | float) for v in value[:99]):
            shown = ", ".join(map(str, value[:6])) + (", …" if len(value) > 6 else "")
            yield f"{name}=[{plain(shown, _LONGEST)}]"


def _system(last: Recorded) -> Facts:
    frames = last.recording.frames
    found = []
    if frames is not None:
        atoms = "" if frames.n_atoms is None else f" of {frames.n_atoms} atoms"
        every = "" if frames.every == 1 else f", every {frames.every} cycles"
        found.append(("frames", plain(f"{', '.join(frames.fields)}{atoms}{every}", 120)))
    else:
        found.append(("frames", "none were kept"))
    return found


def _cycles(each: Recorded) -> str:
    steps = "" if each.recording.n_steps is None else f" of {each.recording.n_steps} steps"
    step = each.step_ps
    length = f" of {step:g} ps" if step and each.recording.n_steps else ""
    return f"{each.n_cycles}{steps}{length}"


def _versions(environment: Mapping[str, Any]) -> str:
    names = ("wepystore", "openmm", "numpy", "python")
    return ", ".join(f"{name} {environment[name]}" for name in names if environment.get(name))


def _told(value: Any) -> str:
    return "" if value is None else str(value)
