"""Rows of a family tree as GEXF, the XML that Gephi and networkx read."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import IO, Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

_NAMESPACE = "http://www.gexf.net/1.2draft"

#: How it looks where nobody lays it out: cycles to the right so far apart, progress upwards over so
#: much, or walkers so far apart where there is none.
_PER_CYCLE, _HEIGHT, _PER_WALKER = 20, 1000.0, 20.0
#: The size of the lightest walker and of the heaviest, on a scale of logarithms.
_SMALLEST, _LARGEST = 2.0, 14.0
#: From the lightest to the heaviest (viridis), and of those that were warped.
_COLOURS = np.array(
    [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64
)
_WARPED_COLOUR = (213, 94, 0)

#: Flags of a row: there is a walker of this number; it was warped.
WALKER, WARPED = 1, 2

#: Levels of a region's name that are kept; WExplore has about four.
REGION_LEVELS = 8

#: Rows written at a time: bounds the memory it takes.
_BATCH = 1 << 14

_NODE = (
    '<node id="%d-%d" label="%d-%d"><attvalues><attvalue for="0" value="%d"/>'
    '<attvalue for="1" value="%d"/><attvalue for="2" value="%r"/>'
    '<attvalue for="3" value="%s"/>%s</attvalues>%s</node>\n'
)
_LOOKS = (
    '<viz:size value="%.3g"/><viz:position x="%d" y="%.5g" z="0"/><viz:color r="%d" g="%d" b="%d"/>'
)
_EDGE = '<edge id="%d" source="%d-%d" target="%d-%d"/>\n'

_FIXED = (
    ("cycle", "integer"),
    ("walker", "integer"),
    ("weight", "double"),
    ("warped", "boolean"),
    ("region", "string"),
)


def row_dtype(n_progress: int) -> np.dtype[Any]:
    """One walker of one cycle.

    ``next_parent`` is about the slot of this number after resampling: the
    walker of this cycle whose state went there, or -1. ``region`` ends at the
    first -1. A progress that is not known is NaN. ``check`` is `seal`'s.
    """
    return np.dtype(
        [
            ("check", "<u8"),
            ("cycle", "<i8"),
            ("walker", "<i4"),
            ("next_parent", "<i4"),
            ("flags", "<i8"),
            ("weight", "<f8"),
            ("region", "<i4", (REGION_LEVELS,)),
            ("progress", "<f8", (n_progress,)),
        ]
    )


def seal(rows: NDArray[Any]) -> None:
    """Note in all rows of one cycle the CRC-32 of what else they hold."""
    rows["check"] = 0
    rows["check"] = zlib.crc32(rows.tobytes())


def damaged(rows: NDArray[Any], n_cycles: int) -> int | None:
    """The first cycle of the rows of `n_cycles` that `seal` has not seen so; None if there is none.

    A checksum of damage, not of forgery: whoever can write to the file can make one.
    """
    # Not from 0 on where the tree began anew.
    first = int(rows["cycle"][0]) if len(rows) else 0
    if first < 0 or (np.diff(rows["cycle"]) < 0).any():
        return 0
    # Of more cycles than rows one is missing; there may be said to be 10^12.
    ends = np.searchsorted(
        rows["cycle"], np.arange(first, min(n_cycles, first + len(rows) + 1) + 1)
    )
    for cycle, (start, stop) in enumerate(pairwise(ends.tolist()), first):
        block = np.array(rows[start:stop])
        noted = block["check"].tolist()
        if start == stop or block["cycle"][0] != cycle:
            return cycle
        seal(block)
        if noted != block["check"].tolist():
            return cycle
    return None


def write(file: IO[str], progress: Sequence[str], rows: NDArray[Any]) -> None:
    """Write rows, in the order of their cycles, as a GEXF 1.2 document.

    Parameters
    ----------
    file : open for writing text
    progress : names of the progress columns
    rows : of `row_dtype`; may be mapped from a file
    """
    last = int(rows["cycle"][-1]) if len(rows) else 0
    start_of_last = int(np.searchsorted(rows["cycle"], last))
    file.write(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<gexf xmlns="{_NAMESPACE}" xmlns:viz="{_NAMESPACE}/viz" version="1.2">\n'
        "<meta><creator>wepystore</creator></meta>\n"
        '<graph mode="static" defaultedgetype="directed">\n'
        '<attributes class="node" mode="static">\n'
    )
    for place, (title, kind) in enumerate([*_FIXED, *((name, "double") for name in progress)]):
        file.write(f'<attribute id="{place}" title={quoteattr(title)} type="{kind}"/>\n')
    file.write("</attributes>\n<nodes>\n")
    looks = _Looks(rows)
    for batch in _batches(rows):
        file.write("".join(_nodes(batch[(batch["flags"] & WALKER) != 0], looks)))
    file.write("</nodes>\n<edges>\n")
    number = 0
    for batch in _batches(rows[:start_of_last]):
        batch = batch[batch["next_parent"] >= 0]
        columns = (batch["cycle"], batch["walker"], batch["next_parent"])
        lines = [
            _EDGE % (number + place, cycle, parent, cycle + 1, walker)
            for place, (cycle, walker, parent) in enumerate(
                zip(*(values.tolist() for values in columns), strict=True)
            )
        ]
        number += len(lines)
        file.write("".join(lines))
    file.write("</edges>\n</graph>\n</gexf>\n")


def _batches(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


class _Looks:
    """Where nodes are, how large, and of which colour."""

    def __init__(self, rows: NDArray[Any]) -> None:
        has_progress = rows["progress"].shape[1] > 0
        self._low, self._scale = 0.0, 0.0
        lightest, heaviest = np.inf, 0.0
        low, high = np.inf, -np.inf
        for batch in _batches(rows):
            weight = batch["weight"][_is_weight(batch["weight"])]
            lightest = min(lightest, weight.min(initial=np.inf))
            heaviest = max(heaviest, weight.max(initial=0.0))
            progress = batch["progress"][:, 0] if has_progress else np.empty(0)
            progress = progress[np.isfinite(progress)]
            low, high = (
                min(low, progress.min(initial=np.inf)),
                max(high, progress.max(initial=-np.inf)),
            )
        if low < high and np.isfinite(high - low):
            self._low, self._scale = low, _HEIGHT / (high - low)
        self._lightest = np.log(lightest) if heaviest else 0.0
        self._span = (np.log(heaviest) - self._lightest if heaviest else 0.0) or 1.0

    def of(self, rows: NDArray[Any]) -> list[str]:
        """For each of these rows."""
        y = _PER_WALKER * rows["walker"].astype(np.float64)
        if self._scale:
            progress = rows["progress"][:, 0]
            # Of whom it is not known lies at the bottom.
            known = np.isfinite(progress)
            y = np.where(known, (np.where(known, progress, 0.0) - self._low) * self._scale, 0.0)
        weight = np.where(_is_weight(rows["weight"]), rows["weight"], np.exp(self._lightest))
        part = np.clip((np.log(weight) - self._lightest) / self._span, 0.0, 1.0)
        at = part * (len(_COLOURS) - 1)
        lower = np.minimum(at.astype(np.int64), len(_COLOURS) - 2)
        colour = _COLOURS[lower] + (at - lower)[:, None] * (_COLOURS[lower + 1] - _COLOURS[lower])
        colour[(rows["flags"] & WARPED) != 0] = _WARPED_COLOUR
        columns = (
            (_SMALLEST + part * (_LARGEST - _SMALLEST)).tolist(),
            (_PER_CYCLE * rows["cycle"]).tolist(),
            y.tolist(),
            *colour.round().astype(np.int64).T.tolist(),
        )
        return [_LOOKS % each for each in zip(*columns, strict=True)]


def _is_weight(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which have a logarithm."""
    found: NDArray[np.bool_] = np.isfinite(values) & (values > 0)
    return found


def _nodes(rows: NDArray[Any], looks: _Looks) -> Iterator[str]:
    extras = [""] * len(rows)
    regions = rows["region"]
    if len(rows) and (regions[:, 0] >= 0).any():
        # Few regions, many rows: each is spelt out once.
        keys = np.ascontiguousarray(regions).view(f"V{regions[0].nbytes}").ravel().tolist()
        spelt = {key: _region(key) for key in set(keys)}
        extras = [spelt[key] for key in keys]
    for place in range(rows["progress"].shape[1]):
        column = len(_FIXED) + place
        extras = [
            f'{extra}<attvalue for="{column}" value="{value!r}"/>' if value == value else extra
            for extra, value in zip(extras, rows["progress"][:, place].tolist(), strict=True)
        ]
    warped = ["true" if flags & WARPED else "false" for flags in rows["flags"].tolist()]
    columns = (rows["cycle"].tolist(), rows["walker"].tolist(), rows["weight"].tolist())
    each = zip(*columns, warped, extras, looks.of(rows), strict=True)
    for cycle, walker, weight, flag, extra, look in each:
        yield _NODE % (cycle, walker, cycle, walker, cycle, walker, weight, flag, extra, look)


def _region(key: bytes) -> str:
    levels = [str(level) for level in np.frombuffer(key, "<i4").tolist() if level >= 0]
    return f'<attvalue for="4" value="{".".join(levels)}"/>' if levels else ""
