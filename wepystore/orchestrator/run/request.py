"""What a run is asked for. An option is declared here, once: the command line, `job.json`, whoever
goes on with a job and the run's record take from its declaration what they need to know of it."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import numbers
import os
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self, TypedDict, TypeVar, get_args, get_type_hints

from wepystore.errors import UsageError, way_out
from wepystore.orchestrator.errors import JobNameError
from wepystore.records.circumstances import MOST_CYCLES

#: SLURM's default KillWait: so long after its SIGTERM comes its SIGKILL.
GRACE_S = 30.0
#: The reporters' files hold numbers of 64 bits.
_MOST = 2**63 - 1

_F = TypeVar("_F", bound=Callable[..., Any])


class RequestError(UsageError):
    """{option} is {value} and must be {kind}"""


def check_job_name(name: str) -> str:
    """`name` if it can begin a file name; JobNameError otherwise."""
    if not name or name in (".", ".."):
        raise JobNameError(name=name, problem="give at least one letter")
    if name[0] in ".-":
        raise JobNameError(name=name, problem="its files would be hidden or look like options")
    if "/" in name or "\0" in name:
        problem = f"it must not hold a slash; use {way_out('to_name_job_dir')} for a path"
        raise JobNameError(name=name, problem=problem)
    if not name.isprintable():
        raise JobNameError(name=name, problem="it holds an unprintable character")
    if len(os.fsencode(name)) > 200:
        raise JobNameError(name=name[:20] + "…", problem="it is longer than 200 bytes")
    return name


@dataclass(frozen=True, eq=False)
class Kind:
    """What values an option takes, besides the one that stands for "not given".

    Attributes
    ----------
    words : str
    types : tuple of type
        Empty for any.
    least, most : float
        Of numbers.
    check : callable
        Called with a value of one of the types, to raise a UsageError.
    """

    words: str
    types: tuple[type, ...] = ()
    least: float = -math.inf
    most: float = math.inf
    check: Callable[[Any], object] | None = None

    def takes(self, value: Any) -> bool:
        """Whether it may be `value`, a number within the bounds if it is one."""
        # type(), not isinstance: True is an int.
        if self.types and type(value) not in self.types:
            return False
        return not isinstance(value, int | float) or self.least <= value <= self.most


COUNT = Kind("a whole number above 0", (int,), 1, MOST_CYCLES)
SEED = Kind("a whole number from 0 to 2^63 - 1", (int,), 0, _MOST)
NAME = Kind("a text", (str,))
TEXT = Kind("a text, which may be empty", (str,))
JOB_NAME = Kind("a text", (str,), check=check_job_name)
FOLDER = Kind("a path")
DURATION = Kind("a number of seconds, 0 or more", (int, float), 0, _MOST)
#: Between two checkpoints.
INTERVAL = Kind("a number of seconds, 0 for never", (int, float), 0, _MOST)
#: Seconds since the epoch.
MOMENT = Kind("seconds since 1970", (int, float))


@dataclass(frozen=True)
class Option:
    """What an option is, besides its type and default: the one place that says so.

    Attributes
    ----------
    kind : Kind
    stored : bool
        It stands in `job.json` and holds for all sessions; else for one only.
    key : str
        In `job.json`, if not the option's name.
    later : bool
        `job.json` of older versions lacks it.
    fixed : bool
        Whoever goes on with a job cannot change it.
    recorded : str
        The field of Circumstances that tells of it, if any.
    """

    kind: Kind
    stored: bool = True
    key: str = ""
    later: bool = False
    fixed: bool = False
    recorded: str = ""


def options(request: type[Means]) -> dict[str, Option]:
    """The options of a kind of request, by the names of its fields."""
    hints = get_type_hints(request, include_extras=True)
    return {name: get_args(hint)[1] for name, hint in hints.items()}


def _plain(value: Any) -> Any:
    """Numbers of numpy's, which a script may have, as Python's own."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)


@dataclass(frozen=True, kw_only=True)
class Means:
    """By what means cycles are computed: None leaves it to the configuration, which keeps its hash.
    None of it but the platform can change the result.

    Attributes
    ----------
    n_workers : int or None
        Worker processes, in place of the configuration's number.
    platform : str or None
        Of OpenMM, in place of the configuration's, or the record's.
    scheduler : str or None
        Address of a dask scheduler, or its scheduler file, whose workers run the segments.

    Raises RequestError.
    """

    n_workers: Annotated[int | None, Option(COUNT)] = None
    platform: Annotated[str | None, Option(NAME, recorded="platform_override")] = None
    scheduler: Annotated[str | None, Option(NAME, stored=False)] = None

    @classmethod
    def given(cls, **options: Any) -> Self:
        """The request of options of which None stands for not given; n_steps has no default."""
        items = options.items()
        return cls(**{name: it for name, it in items if it is not None or name == "n_steps"})

    def __post_init__(self) -> None:
        for name, option in options(type(self)).items():
            kind, value = option.kind, _plain(getattr(self, name))
            object.__setattr__(self, name, Path(value) if kind is FOLDER and value else value)
            default = getattr(type(self), name, kind)
            if type(value) is type(default) and value == default:
                continue  # The default stands for none, where the kind does not take it.
            if not kind.takes(value):
                raise RequestError(option=name, value=reprlib.repr(value), kind=kind.words)
            if kind.check is not None:
                kind.check(value)


@dataclass(frozen=True, kw_only=True)
class RunRequest(Means):
    """What a run is asked for; when a job is resumed, what this session is.

    Attributes
    ----------
    n_steps : int
        Steps in each segment.
    seconds : float
        Wall-clock budget in s, of all sessions, or of the one that a job is resumed for: cycles are
        run as long as another one fits into it. Infinity for none: then it is cycles, a signal or
        `until` that ends the run.
    n_cycles : int or None
        Stop after so many cycles, counted from the start of the run.
    seed : int
        Drawn if not given.
    job_dir, job_name : Path, str or None
        None for the start's hash.
    narration : str
        A note for the run record.
    checkpoint_freq : int or None
        Cycles between checkpoints; None for none by cycles.
    checkpoint_every : float or None
        Seconds between checkpoints, 0 for none by time; None for every 5 minutes, less often where
        one takes long. One at the end is always written.
    grace : float
        How long after a signal the process may still live, in s.
    until : float or None
        Seconds since the epoch; by then the last checkpoint must be written.
    """

    n_steps: Annotated[int, Option(COUNT, fixed=True)]
    seconds: Annotated[float, Option(DURATION)] = math.inf
    n_cycles: Annotated[int | None, Option(COUNT)] = None
    seed: Annotated[int, Option(SEED, fixed=True)] = field(
        default_factory=lambda: int.from_bytes(os.urandom(4), "big")
    )
    job_dir: Annotated[Path | None, Option(FOLDER, fixed=True, stored=False)] = None
    job_name: Annotated[
        str | None, Option(JOB_NAME, fixed=True, key="name", recorded="job_name")
    ] = None
    narration: Annotated[str, Option(TEXT, fixed=True, recorded="narration")] = ""
    checkpoint_freq: Annotated[int | None, Option(COUNT)] = None
    checkpoint_every: Annotated[float | None, Option(INTERVAL, later=True)] = None
    grace: Annotated[float, Option(DURATION, stored=False)] = GRACE_S
    until: Annotated[float | None, Option(MOMENT, stored=False)] = None

    @property
    def prefix(self) -> Path:
        """What the names of the job's files begin with, of a request that names its job."""
        assert self.job_dir is not None and self.job_name is not None
        return self.job_dir / self.job_name

    def merged(self, changes: Mapping[str, Any]) -> Self:
        """This request with other values of options, by name; None for as it was.

        Raises TypeError for what cannot be changed in a run that has begun.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        free = {name for name, option in options(RunRequest).items() if not option.fixed}
        if others := given.keys() - free:
            raise TypeError(f"a run goes on with its {', '.join(sorted(others))}, as it began")
        return dataclasses.replace(self, **given)

    def to_json(self) -> dict[str, Any]:
        """What of it `job.json` keeps. JSON has no infinity: null stands for no limit."""
        return {
            option.key or name: None if (value := getattr(self, name)) == math.inf else value
            for name, option in options(RunRequest).items()
            if option.stored
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The request of what a `job.json` holds.

        Raises KeyError for what is missing, ValueError, JobNameError.
        """
        found = {}
        for name, option in options(RunRequest).items():
            key = option.key or name
            if not option.stored or (option.later and key not in value):
                continue
            if value[key] is None and not option.fixed:
                continue
            if not option.kind.takes(value[key]):
                raise ValueError(f"its {key} is {reprlib.repr(value[key])}")
            found[name] = value[key]
        return cls(**found)

    def recorded(self) -> dict[str, Any]:
        """The Circumstances of its run that it decides, by their names."""
        return {
            option.recorded: getattr(self, name)
            for name, option in options(RunRequest).items()
            if option.recorded
        }


# What a type checker is to know of a function's `**options`: it cannot read the fields above.
# None stands for not given. A test compares them.


class MeansOptions(TypedDict, total=False):
    """The options of Means."""

    n_workers: int | None
    platform: str | None
    scheduler: str | None


class SessionOptions(MeansOptions, total=False):
    """With those of RunRequest that may be others when a job is resumed, n_cycles apart."""

    seconds: float | None
    checkpoint_freq: int | None
    checkpoint_every: float | None
    grace: float | None
    until: float | None


class JobOptions(SessionOptions, total=False):
    """With all of RunRequest, n_steps and n_cycles apart."""

    seed: int | None
    job_dir: str | os.PathLike[str] | None
    job_name: str | None
    narration: str | None


def with_options(
    request: type[Means], typed: type[MeansOptions], goes_on: bool = False
) -> Callable[[_F], _F]:
    """The `**options` of a function are those of `typed`: `help` shows them, with the defaults and
    the words of `request`, and what is none is a TypeError that names the function.

    Where a run `goes_on`, the default of each is None, for as it was.
    """

    def decorate(function: _F) -> _F:
        defaults = inspect.signature(request).parameters
        own = inspect.signature(function)
        other: dict[str, Any] = {"default": None} if goes_on else {}
        shown = list(own.parameters.values())[:-1]
        shown += [
            defaults[name].replace(annotation=hint, **other)
            for name, hint in get_type_hints(typed).items()
        ]
        names = [each.name for each in shown]

        @functools.wraps(function)
        def checked(*args: Any, **given: Any) -> Any:
            # What a run that has begun cannot change is told by the function.
            for name in given.keys() - {*names, *defaults}:
                import difflib

                near = difflib.get_close_matches(name, names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else f": help({function.__name__})"
                raise TypeError(f"{function.__name__}() has no option {name!r}{hint}")
            return function(*args, **given)

        said = "".join(f"{inspect.getdoc(each)}\n" for each in request.__mro__[:-1])
        entries = [
            entry
            for entry in re.findall(r"^\w.* : .*\n(?:    .*\n)+", said, re.M)
            if set(entry.partition(" : ")[0].split(", ")) <= set(names)
        ]
        about = [inspect.getdoc(function) or "", "", "Options", "-------", "".join(entries)]
        checked.__doc__ = "\n".join(about)
        checked.__dict__["__signature__"] = own.replace(parameters=shown)
        return checked  # type: ignore[return-value]

    return decorate
