"""From a store to a report: which runs, which figures of them, and what is said of it all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wepystore.answers.study import Chain, Study, load_study
from wepystore.records.library import AnyStore
from wepystore.report.errors import NothingToShowError
from wepystore.report.figure import Datasets, Figure, Spec, colours_of
from wepystore.report.figures import cost, landscape, occupancy, spread, tree, turnover
from wepystore.report.provenance import Facts, apparatus_of, facts_of
from wepystore.report.shown import Shown, plain

#: Of so many coordinates that are recorded as progress there is a figure.
_MOST_COORDINATES = 3

#: All cells of all runs together: a report of many runs is drawn more coarsely.
_MOST = {"one": 160, "all": 480, "fewest": 40, "points": 5000, "fewest_points": 400}


@dataclass(frozen=True)
class ReportedRun:
    """A run, with those that led to it, as a report names it.

    Attributes
    ----------
    label : str
        The first digits of its hash.
    colour : str
    facts, apparatus : list of (name, value)
    """

    label: str
    colour: str
    facts: Facts
    apparatus: Facts


@dataclass(frozen=True, eq=False)
class Report:
    """All that a page says.

    Attributes
    ----------
    title : str
    runs : tuple of ReportedRun
    figures : tuple of Figure
    left_out : tuple of (run, why)
    """

    title: str
    runs: tuple[ReportedRun, ...]
    figures: tuple[Figure, ...]
    left_out: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _ByRun:
    """A figure of each run."""

    name: str
    title: str
    section: str
    caption: str
    spec: Spec
    draw: Callable[[Shown, Chain], Datasets]


def make_report(store: AnyStore, runs: Sequence[str] | None = None, title: str = "") -> Report:
    """What there is to report of runs.

    Parameters
    ----------
    store, runs : as of load_study
    title : str

    Raises
    ------
    WepystoreError : as load_study.
    """
    study = load_study(store, runs)
    chains = list(study.chains)
    labels = labels_of([chain.run for chain in chains])
    colours = colours_of(len(chains))
    wanted = _by_run(study, len(chains))
    data: dict[str, dict[str, Datasets | str]] = {each.name: {} for each in wanted}
    for label, chain in zip(labels, chains, strict=True):
        run = Shown(label, chain.tables)
        for each in wanted:
            data[each.name][label] = _drawn(each, run, chain)
    return Report(
        title=plain(title, 120) or "Weighted ensemble report",
        runs=tuple(
            ReportedRun(label, colour, facts_of(chain), apparatus_of(study.store, chain))
            for label, colour, chain in zip(labels, colours, chains, strict=True)
        ),
        figures=tuple(
            Figure(each.name, each.title, each.caption, each.spec, data[each.name], each.section)
            for each in wanted
        ),
        left_out=(*study.left_out, *study.apart),
    )


def labels_of(runs: Sequence[str]) -> list[str]:
    """The first digits of hashes, as many as tell them apart."""
    for n_digits in range(8, 33):
        labels = [run[:n_digits] for run in runs]
        if len(set(labels)) == len(labels):
            break
    return labels


def _drawn(figure: _ByRun, run: Shown, chain: Chain) -> Datasets | str:
    try:
        return figure.draw(run, chain)
    except NothingToShowError as nothing:
        return str(nothing)


def _by_run(study: Study, n_runs: int) -> list[_ByRun]:
    """The figures that there are of each run."""
    most = _MOST
    n_stretches = max(most["fewest"], min(most["one"], most["all"] // max(1, n_runs)))
    coordinates = _coordinates(study)
    found = []
    for place, name in enumerate(coordinates[:_MOST_COORDINATES]):
        found.append(
            _ByRun(
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
            _ByRun(
                "family-tree" if along is None else "ways",
                "Family tree" if along is None else f"Ways: {plain(along)}",
                "Paths",
                tree.caption(along),
                tree.tree_spec(along),
                lambda run, _, along=along: tree.tree_of(run, along, n_points),  # type: ignore[misc]
            )
        )
    found += [
        _ByRun(
            "weights",
            "Weights",
            "Weights and resampling",
            spread.WEIGHTS_CAPTION,
            spread.weights_spec(),
            lambda run, _: spread.weights_of(run),
        ),
        _ByRun(
            "effective-walkers",
            "Effective number of walkers",
            "Weights and resampling",
            spread.EFFECTIVE_CAPTION,
            spread.effective_spec(),
            lambda run, _: spread.effective_of(run),
        ),
        _ByRun(
            "clones-and-merges",
            "Clones and merges",
            "Weights and resampling",
            turnover.CAPTION,
            turnover.turnover_spec(),
            lambda run, _: turnover.turnover_of(run),
        ),
        _ByRun(
            "occupancy",
            "Bins or regions",
            "Weights and resampling",
            occupancy.caption(),
            occupancy.occupancy_spec(),
            lambda run, _: occupancy.occupancy_of(run, n_stretches),
        ),
        _ByRun(
            "time",
            "Time a cycle",
            "Time",
            cost.CAPTION,
            cost.cost_spec(),
            cost.cost_of,
        ),
    ]
    return found


def _coordinates(study: Study) -> list[str]:
    """Names of what is recorded as progress in any run."""
    found: dict[str, None] = {}
    for chain in study.chains:
        found.update(dict.fromkeys(Shown("", chain.tables).coordinates))
    return list(found)
