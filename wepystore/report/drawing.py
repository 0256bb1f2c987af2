"""Figures as files: SVG, PNG, PDF, drawn by vl-convert without a browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from wepystore.report.errors import PlayerMissingError
from wepystore.report.figure import POINTED, WIDTH, Spec
from wepystore.report.making import Report

#: Of PNGs: points of the picture for one of the figure.
_SCALE = 2.0
_VERSION = "6.1"


def drawn_figures(report: Report, endings: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files of all figures that show something: NAME.ENDING, of those of
    one run NAME-RUN.ENDING.

    Parameters
    ----------
    report : Report
    endings : of svg, png and pdf

    Raises PlayerMissingError where vl-convert is not installed.
    """
    converter = _converter(endings)
    for figure in report.figures:
        for run, data in figure.data.items():
            if isinstance(data, str):
                continue
            spec = on_paper(figure.complete(run))
            name = f"{figure.name}-{run}" if run else figure.name
            for ending in endings:
                # A name is ours but for the digits of a hash; a path it shall never be.
                yield (
                    f"{re.sub(r'[^A-Za-z0-9-]', '_', name)}.{ending}",
                    _drawn(converter, spec, ending),
                )


def on_paper(spec: Spec) -> Spec:
    """A specification of a fixed width, black on white, that nobody points at."""
    return {
        **spec,
        "width": WIDTH - 120,
        # Layers that are there for the pointer show nothing without it.
        "layer": [
            {k: v for k, v in each.items() if k != "params"}
            for each in spec["layer"]
            if POINTED not in (param["name"] for param in each.get("params", ()))
        ],
        "config": {**spec["config"], "background": "white"},
    }


def _drawn(converter: ModuleType, spec: Spec, ending: str) -> bytes:
    options: dict[str, Any] = {"vl_version": _VERSION, "allowed_base_urls": []}
    if ending == "png":
        options["scale"] = _SCALE
    convert: Callable[..., str | bytes] = getattr(converter, f"vegalite_to_{ending}")
    found = convert(spec, **options)
    return found.encode() if isinstance(found, str) else found


def _converter(endings: Sequence[str]) -> ModuleType:
    try:
        return import_module("vl_convert")
    except ImportError:
        shown = " and ".join(ending.upper() for ending in endings)
        raise PlayerMissingError(endings=shown) from None
