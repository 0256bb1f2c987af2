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


def numbers_of(chain: Chain) -> Facts:
    """What a chain of runs was in numbers; the same names, in one order, for every chain."""
    records = [each.record for each in chain.recorded]
    hows = [record.execution for record in records]
    walls = [how.wall_s for how in hows if how.wall_s is not None]
    found = [
        ("seed", ", ".join(_told(record.seed) for record in records)),
        ("cycles", ", ".join(_cycles(each) for each in chain.recorded)),
        ("walkers", ", ".join(dict.fromkeys(_told(how.n_walkers) for how in hows))),
        ("arrivals", ", ".join(_told(how.n_warped) for how in hows)),
        ("begun", _told(hows[0].begun)[:16].replace("T", " ")),
        ("on the clock", _clock(sum(walls)) if len(walls) == len(hows) else ""),
        ("ns/day", _speed(chain, walls)),
        ("same bits again", "yes" if all(record.reproducible for record in records) else "no"),
    ]
    return [(name, plain(value, 120)) for name, value in found]


def hashes_of(chain: Chain) -> Facts:
    """Of a chain of runs: records, where it began and ended, and under which configuration."""
    records = [each.record for each in chain.recorded]
    return [
        ("record", ", ".join(each.run for each in chain.recorded)),
        ("start", records[0].start.md5),
        ("end", records[-1].end.md5),
        ("configuration", ", ".join(dict.fromkeys(record.config.md5 for record in records))),
    ]


def _speed(chain: Chain, walls: list[float]) -> str:
    """Of all walkers together."""
    sampled = [
        each.record.execution.sampled_ps(each.record.n_cycles, each.record.n_steps)
        for each in chain.recorded
    ]
    known = [each for each in sampled if each is not None]
    if len(walls) != len(sampled) or len(known) != len(sampled) or not sum(walls) > 0:
        return ""
    return f"{sum(known) * 1e-3 / (sum(walls) / 86400):,.3g}"


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


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
    last = chain.recorded[-1].record
    found = [(name.replace("_", " "), component_text(parts.get(name))) for name in _PARTS]
    found += _system(chain.recorded[-1])
    found += [("narration", plain(last.execution.narration or "", 400))]
    found += [("platform", plain(_told(last.environment.get("platform")), 60))]
    found += [("versions", plain(_versions(last.environment), 200))]
    return [(name, value) for name, value in found if value]


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
        atoms = (
            ""
            if frames.n_atoms is None
            else f" of {frames.n_atoms} atom{'s' * (frames.n_atoms != 1)}"
        )
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
