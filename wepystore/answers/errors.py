"""What can be asked of recordings in vain."""

from __future__ import annotations

from wepystore.errors import FailedError, UsageError


class UntraceableError(FailedError):
    """who descends from whom in run {run} is not recorded: {why}"""


class NoSuchWalkerError(FailedError):
    """run {run} has no walker {walker} in cycle {cycle}: {what_there_is}"""


class NoSuchWarpError(FailedError):
    """run {run} has no warp {warp}: {what_there_is}"""


class NothingToCountError(FailedError):
    """no run of {store} can be counted: {why}"""


class NotAlikeError(FailedError):
    """runs {one} and {other} do not belong together: {what}; name only runs that do"""


class NoSuchProgressError(FailedError):
    """{asked!r} cannot be read: {why}"""


class NotANumberError(FailedError):
    """{coordinate} is {value} for walker {walker} in cycle {cycle} of run {run}{why}"""


class AtomsNotKeptError(FailedError):
    """{coordinate} looks at atom {atom}, and frames of run {run} hold {held}"""


class NotFromFileError(FailedError):
    """{file}:{function} is code: load it, and give the function itself"""


class UnusableWeightsError(FailedError):
    """the weights of cycle {cycle} of run {run} are no probabilities: their sum is {total}; neither
    a rate nor a profile can be had of it"""


class NoRateError(FailedError):
    """no rate can be had: {why}"""


class WindowError(UsageError):
    """{what} leaves nothing of run {run}, which has {n_cycles} cycles"""


class UnknownTimeError(UsageError):
    """times are not known in {unit}: {why}"""


class NotReweightedError(FailedError):
    """these runs cannot be reweighted: {why}"""


class UnfitBinsError(UsageError):
    """these are no bins: {why}"""


class NoProfileError(FailedError):
    """there is no profile along {along}: {why}"""


class StateTextError(UsageError):
    """{text!r} is no state: {part!r} is not as 'progress < 0.4', '0.2 <= progress < 0.4', or such
    with 'and' between them"""


class StatesOverlapError(UsageError):
    """{a} and {b} are not apart: walker {walker} in cycle {cycle} of run {run} is in both"""
