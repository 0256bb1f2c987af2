"""Which figures there are of each run, and what they are drawn by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wepystore.answers.study import Chain, Study
from wepystore.report.figure import Datasets, Spec
from wepystore.report.figures import cost, landscape, occupancy, spread, tree, turnover
from wepystore.report.shown import Shown, plain

#: Of so many coordinates that are recorded as progress there is a figure.
MOST_COORDINATES = 3

#: Of all runs together: a report of many runs is drawn more coarsely.
_MOST = {"one": 160, "all": 360, "fewest": 36, "points": 4000, "fewest_points": 400}


@dataclass(frozen=True)
class FigureOfRun:
    """A figure that is drawn of each run by itself."""

    name: str
    title: str
    section: str
    caption: str
    spec: Spec
    draw: Callable[[Shown, Chain], Datasets]


def figures_of_runs(coordinates: Sequence[str], n_runs: int) -> list[FigureOfRun]:
    """The figures that there are of each run.

    Parameters
    ----------
    coordinates : sequence of str
        Names of what is recorded as progress.
    n_runs : int
    """
    most = _MOST
    n_stretches = max(most["fewest"], min(most["one"], most["all"] // max(1, n_runs)))
    found = []
    for place, name in enumerate(coordinates):
        found.append(
            FigureOfRun(
                f"progress-{place + 1}",
                f"Where the walkers were: {plain(name)}",
                "Paths",
                landscape.caption(),
                landscape.landscape_spec(name),
                lambda run, _, name=name: landscape.landscape_of(run, name, n_stretches),  # type: ignore[misc]
            )
        )
    n_points = max(most["fewest_points"], most["points"] // max(1, n_runs))
    laid_out: tuple[str | None, ...] = (*coordinates[:1], None)
    for along in laid_out:
        found.append(
            FigureOfRun(
                "family-tree" if along is None else "ways",
                "Family tree" if along is None else f"Ways: {plain(along)}",
                "Paths",
                tree.caption(along),
                tree.tree_spec(along),
                lambda run, _, along=along: tree.tree_of(run, along, n_points),  # type: ignore[misc]
            )
        )
    found += [
        FigureOfRun(
            "weights",
            "Weights",
            "Weights and resampling",
            spread.WEIGHTS_CAPTION,
            spread.weights_spec(),
            lambda run, _: spread.weights_of(run),
        ),
        FigureOfRun(
            "effective-walkers",
            "Effective number of walkers",
            "Weights and resampling",
            spread.EFFECTIVE_CAPTION,
            spread.effective_spec(),
            lambda run, _: spread.effective_of(run),
        ),
        FigureOfRun(
            "clones-and-merges",
            "Clones and merges",
            "Weights and resampling",
            turnover.CAPTION,
            turnover.turnover_spec(),
            lambda run, _: turnover.turnover_of(run),
        ),
        FigureOfRun(
            "occupancy",
            "Bins or regions",
            "Weights and resampling",
            occupancy.caption(),
            occupancy.occupancy_spec(),
            lambda run, _: occupancy.occupancy_of(run, n_stretches),
        ),
        FigureOfRun(
            "time",
            "Time a cycle",
            "Time",
            cost.CAPTION,
            cost.cost_spec(),
            cost.cost_of,
        ),
    ]
    return found


def coordinates_of(study: Study) -> list[str]:
    """Names of what is recorded as progress in any run."""
    found: dict[str, None] = {}
    for chain in study.chains:
        found.update(dict.fromkeys(Shown("", chain.tables).coordinates))
    return list(found)[:MOST_COORDINATES]
