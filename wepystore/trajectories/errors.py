"""What may be wrong with what is asked of a file of trajectories."""

from __future__ import annotations

from wepystore.errors import DamagedError, FailedError, UsageError


class UnknownFormatError(UsageError):
    """{file} ends as nothing that trajectories are written to: {endings} are"""


class NoSuchTrajectoryError(UsageError):
    """there is no walker {walker} in these cycles of run {run}: it has {count}, counted from 0"""


class NoSuchCyclesError(UsageError):
    """run {run} has {count} cycles, and of none of those that are asked for there are frames"""


class WrongChoiceError(UsageError):
    """{name} is {given} and must be {wanted}"""


class NoSuchAtomError(UsageError):
    """no frame of run {run} has atom {atom}: {held}"""


class SelectionError(UsageError):
    """{selection!r} selects no atoms: {why}"""


class LibraryMissingError(FailedError):
    """{what} needs MDTraj, which is not installed: pip install 'wepystore[trajectories]'"""


class NotMolecularError(FailedError):
    """run {run} cannot be written to {file}: {why}; a .h5 file takes anything"""


class NotMovedError(FailedError):
    """frames of run {run} can be neither aligned nor made whole: {why}"""


class NotAsRecordedError(DamagedError):
    """of run {run} the frames of walkers {walkers} in cycles {cycles} are not what was recorded:
    {why}"""


class NoPositionsError(FailedError):
    """no positions were kept of run {run}, and a file of trajectories needs them"""


class NotTogetherError(FailedError):
    """runs {one} and {other} do not go into one file: {why}; name those that do"""


class NothingToWriteError(FailedError):
    """there is no run in {store} of which there are frames{why}"""


class NotForFormatError(UsageError):
    """{what} does not go with a {suffix} file"""


class NotWrittenError(FailedError):
    """{file} cannot be written: {why}"""


class NotHDF5Error(FailedError):
    """{file} cannot be read as an HDF5 file: {why}"""


class NotCopiedError(FailedError):
    """{file} cannot be copied with what it links to: {what}: {why}"""


class NotLinkedError(FailedError):
    """{file} cannot be linked to: {why}; write a file that holds the frames itself"""
