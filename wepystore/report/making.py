"""From a store to a report: which runs, which figures of them, and what is said of it all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from wepystore.answers.errors import NoRateError, UnusableWeightsError
from wepystore.answers.measured import Along
from wepystore.answers.profiles import profile_of
from wepystore.answers.rates import Rates, rates_of
from wepystore.answers.study import Chain, Study, load_study
from wepystore.answers.windows import Window
from wepystore.coordinates.errors import SelectionTextError
from wepystore.coordinates.language import Progress
from wepystore.errors import FailedError
from wepystore.records.library import AnyStore
from wepystore.report.errors import NothingToShowError
from wepystore.report.figure import Datasets, Figure, colours_of
from wepystore.report.figures import convergence, energy, forest
from wepystore.report.headline import Headline, headlines_of, table_of
from wepystore.report.provenance import Facts, apparatus_of, hashes_of, numbers_of
from wepystore.report.shown import Shown, plain
from wepystore.report.structure import Structure, structure_of
from wepystore.report.wanted import FigureOfRun, coordinates_of, figures_of_runs


@dataclass(frozen=True)
class ReportedRun:
    """A run, with those that led to it, as a report names it.

    Attributes
    ----------
    label : str
        The first digits of its hash.
    colour : str
    numbers, hashes : list of (name, value)
    apparatus : list of (name, value)
    """

    label: str
    colour: str
    numbers: Facts
    hashes: Facts
    apparatus: Facts


@dataclass(frozen=True, eq=False)
class Report:
    """All that a page says.

    Attributes
    ----------
    title : str
    headlines : tuple of Headline
    remarks : tuple of str
        What a reader has to know before believing any of it.
    runs : tuple of ReportedRun
    figures : tuple of Figure
    rates : list of list of (name, value)
        A row for each rate.
    structure : Structure, text or None
        Along a lineage; a text says why there is none, None stands for not asked for.
    study : Study
    """

    title: str
    headlines: tuple[Headline, ...]
    remarks: tuple[str, ...]
    runs: tuple[ReportedRun, ...]
    figures: tuple[Figure, ...]
    rates: list[Facts]
    structure: Structure | str | None
    study: Study


def make_report(
    store: AnyStore,
    runs: Sequence[str] | None = None,
    *,
    title: str = "",
    window: Window | None = None,
    unit: str | None = None,
    along: Sequence[Along] = (),
    atoms: str | None = None,
) -> Report:
    """What there is to report of runs.

    Parameters
    ----------
    store, runs : as of load_study
    title : str
    window : Window or None
        Cycles that count for rates and profiles; None for the last half of each chain.
    unit : str or None
        Of times, as of load_rates.
    along : sequence of str, Coordinate or callable
        Along which there are profiles, besides what is recorded as progress.
    atoms : str or None
        A selection of atoms: then their ways along the heaviest lineage are shown as well.

    Raises
    ------
    WepystoreError : as load_study, and for `along` as load_profile; WindowError, UnknownTimeError.
    """
    study = load_study(store, runs)
    chains = list(study.chains)
    hashes = [chain.run for chain in chains]
    labels = dict(zip(hashes, labels_of(hashes), strict=True))
    colours = dict(zip(hashes, colours_of(len(chains)), strict=True))
    rates = _rates(study, window or Window(), unit)
    figures = _of_rates(rates, labels, {labels[run]: colours[run] for run in hashes})
    coordinates = coordinates_of(study)
    figures += _profiles(study, window or Window(), along, coordinates)
    figures += _of_runs(study, labels, coordinates)
    return Report(
        title=plain(title, 120) or "Weighted ensemble report",
        headlines=headlines_of(study, rates),
        remarks=(*_remarks(study),),
        runs=tuple(
            ReportedRun(
                labels[chain.run],
                colours[chain.run],
                numbers_of(chain),
                hashes_of(chain),
                apparatus_of(study.store, chain),
            )
            for chain in chains
        ),
        figures=tuple(figures),
        rates=[] if isinstance(rates, str) else table_of(rates, labels),
        structure=None if atoms is None else _structure(study, atoms),
        study=study,
    )


def _structure(study: Study, atoms: str) -> Structure | str:
    try:
        return structure_of(study, atoms)
    except SelectionTextError:
        raise
    except FailedError as why:
        return str(why)


def _rates(study: Study, window: Window, unit: str | None) -> Rates | str:
    """The rates, or why there are none."""
    try:
        return rates_of(study, window, unit)
    except (NoRateError, UnusableWeightsError) as none:
        return str(none)


def _remarks(study: Study) -> list[str]:
    return [f"run {run[:8]} is left out: {why}" for run, why in study.left_out] + [
        f"run {run[:8]} stands without those that led to its start: {why}"
        for run, why in study.apart
    ]


def _of_rates(
    rates: Rates | str, labels: Mapping[str, str], colours: Mapping[str, str]
) -> list[Figure]:
    """The figures of all runs together."""
    titles = {"rate": "Flux, and the rate so far", "rates-compared": "Rates of runs compared"}
    if isinstance(rates, str):
        return [Figure(name, title, "", {}, {"": rates}, "Rate") for name, title in titles.items()]
    return [
        Figure(
            "rate",
            titles["rate"],
            convergence.caption(rates),
            convergence.convergence_spec(rates.unit, colours),
            {"": convergence.convergence_of(rates, labels)},
            "Rate",
        ),
        Figure(
            "rates-compared",
            titles["rates-compared"],
            forest.CAPTION,
            forest.forest_spec(rates.unit, len(forest.rows_of(rates, labels)), colours),
            {"": _or_why(lambda: forest.forest_of(rates, labels))},
            "Rate",
        ),
    ]


def _profiles(
    study: Study, window: Window, along: Sequence[Along], recorded: Sequence[str]
) -> list[Figure]:
    """Profiles along what was asked for, and along what is recorded."""
    asked: list[Along] = [*along, *map(Progress, recorded)]
    if not asked:
        why = "no progress is recorded of these runs, and no coordinate was asked for"
        return [Figure("profile-1", "Free energy", "", {}, {"": why}, "Profile")]
    found = []
    for place, each in enumerate(asked):
        name = f"profile-{place + 1}"
        try:
            profile = profile_of(study, each, window=window, n_windows=energy.N_WINDOWS)
        except FailedError as error:
            if place < len(along):
                raise
            title = f"Free energy: {plain(recorded[place - len(along)])}"
            found.append(Figure(name, title, "", {}, {"": str(error)}, "Profile"))
            continue
        found.append(
            Figure(
                name,
                f"Free energy: {plain(profile.axes[0].label)}",
                energy.caption(profile),
                energy.energy_spec(profile),
                {"": energy.energy_of(profile)},
                "Profile",
            )
        )
    return found


def _of_runs(study: Study, labels: Mapping[str, str], coordinates: Sequence[str]) -> list[Figure]:
    """The figures of each run."""
    wanted = figures_of_runs(coordinates, len(labels))
    data: dict[str, dict[str, Datasets | str]] = {each.name: {} for each in wanted}
    for chain in study.chains:
        label = labels[chain.run]
        run = Shown(label, chain.tables, 200 if len(labels) <= 4 else 100)
        for each in wanted:
            data[each.name][label] = _drawn(each, run, chain)
    return [
        Figure(each.name, each.title, each.caption, each.spec, data[each.name], each.section)
        for each in wanted
    ]


def labels_of(runs: Sequence[str]) -> list[str]:
    """The first digits of hashes, as many as tell them apart."""
    for n_digits in range(8, 33):
        labels = [run[:n_digits] for run in runs]
        if len(set(labels)) == len(labels):
            break
    return labels


def _drawn(figure: FigureOfRun, run: Shown, chain: Chain) -> Datasets | str:
    return _or_why(lambda: figure.draw(run, chain))


def _or_why(draw: Callable[[], Datasets]) -> Datasets | str:
    """What is drawn, or why there is nothing to show."""
    try:
        return draw()
    except NothingToShowError as nothing:
        return str(nothing)
