"""A figure as plain data: a Vega-Lite specification, columns of numbers, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wepystore.report.thinning import Values

#: {name of a dataset: {name of a column: its values}}
Datasets = Mapping[str, Mapping[str, Values]]
Spec = dict[str, Any]

#: Okabe and Ito's colours for the colour-blind, without black, and yellow last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = COLOURS
#: More runs than these have colours: steps of viridis, without its darkest and lightest.
MORE_COLOURS = (
    *("#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b"),
)
#: Text, axes and lines take the colour of the page, dark on light or light on dark.
INK = "currentColor"

WIDTH = 880

#: The parameter of layers that show where the pointer is.
POINTED = "pointed"

#: What all figures have in common.
CONFIG: Spec = {
    "background": None,
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": INK,
        "domainColor": INK,
        "tickColor": INK,
        "gridColor": INK,
        "domainOpacity": 0.35,
        "tickOpacity": 0.35,
        "gridOpacity": 0.1,
        "labelOpacity": 0.75,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": 500,
        "titlePadding": 8,
        "labelFlush": False,
    },
    "legend": {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": 500,
        "orient": "top",
        "gradientLength": 180,
        "gradientThickness": 10,
        "symbolStrokeWidth": 2,
    },
    "text": {"color": INK},
    "rule": {"color": INK},
    "range": {"ramp": {"scheme": "viridis"}, "heatmap": {"scheme": "viridis"}},
}


def flowing(text: str) -> str:
    """A text in one line."""
    return " ".join(text.split())


def colours_of(n: int) -> tuple[str, ...]:
    """A colour for each of n runs; they repeat where there are more than one can tell apart."""
    few = COLOURS if n <= len(COLOURS) else MORE_COLOURS
    return tuple(few[k * len(few) // n] if n > len(COLOURS) else few[k] for k in range(n))


@dataclass(frozen=True, eq=False)
class Figure:
    """One figure.

    Attributes
    ----------
    name : str
        For files and links: letters, digits and hyphens.
    title : str
    caption : str
        What it means, and when not to trust it.
    spec : dict
        Vega-Lite, without its data.
    data : {run: Datasets, or a text}
        Of each run that it can be shown of; "" where it is of all runs. A text says why there is
        nothing to show.
    section : str
    """

    name: str
    title: str
    caption: str
    spec: Spec
    data: Mapping[str, Datasets | str]
    section: str

    def complete(self, run: str) -> Spec:
        """The specification with the data of a run in it, as any Vega-Lite takes it.

        Raises KeyError where there is nothing to show.
        """
        held = self.data[run]
        if isinstance(held, str):
            raise KeyError(run)
        datasets = {name: rows_of(columns) for name, columns in held.items()}
        # A layer of nothing would have scales of nothing.
        layers = [each for each in self.spec["layer"] if datasets[each["data"]["name"]]]
        return {**self.spec, "layer": layers, "datasets": datasets}


def rows_of(columns: Mapping[str, Values]) -> list[dict[str, Any]]:
    """Columns as rows."""
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def spec(layers: Sequence[Spec], height: int = 260, **more: Any) -> Spec:
    """A figure of layers that are as wide as the page."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": height,
        "layer": list(layers),
        "config": CONFIG,
        **more,
    }


def layer(data: str, mark: str | Spec, encoding: Spec, **more: Any) -> Spec:
    """A layer of one dataset."""
    return {"data": {"name": data}, "mark": mark, "encoding": encoding, **more}


def x_of_cycles(field: str = "cycle", **more: Any) -> Spec:
    """The axis that nearly all figures share."""
    scale = {"nice": False, "zero": False, "padding": 5}
    axis = {"title": "cycle", "grid": False, "tickCount": 8, "format": ",d"}
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis, **more}


def quantity(field: str, title: str | None = None, log: bool = False, **more: Any) -> Spec:
    """A number on an axis."""
    scale: Spec = {"type": "log", "nice": False, "padding": 8} if log else {"zero": False}
    axis: Spec = {"title": title, "tickCount": 6}
    if log:
        power = "abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) < 1e-6"
        axis |= {
            "format": ".0e",
            "gridOpacity": {"condition": {"test": power, "value": 0.12}, "value": 0},
        }
    return {"field": field, "type": "quantitative", "scale": scale, "axis": axis, **more}


def told(field: str, title: str, form: str = ".3~g", kind: str = "quantitative") -> Spec:
    """A line of what is shown where the pointer is."""
    found = {"field": field, "title": title, "type": kind}
    return found | ({"format": form} if kind == "quantitative" else {})


#: Dragging moves, Ctrl or Cmd and the wheel (or two fingers) enlarge, a double click goes back.
def zoom(axes: Sequence[str] = ("x",)) -> Spec:
    """The parameter that lets people enlarge a figure, as its first layer has it."""
    wheel = "wheel![event.ctrlKey || event.metaKey]"
    select = {"type": "interval", "encodings": list(axes), "zoom": wheel}
    return {"name": "enlarged", "select": select, "bind": "scales"}


def pointer(data: str, x: Spec, y: Spec, tooltip: list[Spec]) -> Spec:
    """A layer with a point on a line where the pointer is, and what is told there."""
    select = {
        "type": "point",
        "on": "pointerover",
        "nearest": True,
        "encodings": ["x"],
        "clear": "pointerout",
    }
    seen = {"condition": {"param": POINTED, "empty": False, "value": 1}, "value": 0}
    return layer(
        data,
        {"type": "point", "filled": True, "size": 55, "color": INK},
        {"x": x, "y": y, "opacity": seen, "tooltip": tooltip},
        params=[{"name": POINTED, "select": select}],
    )
