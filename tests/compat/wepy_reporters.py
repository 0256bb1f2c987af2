"""A user's own reporters, written for wepy."""

import csv
import os
import signal

from openmm import unit
from wepy.reporter.reporter import FileReporter, ProgressiveFileReporter, Reporter


class EnergyReporter(FileReporter):
    """A line a cycle, in a file that is opened for each; a last line at the end."""

    FILE_ORDER = ("energy_path",)
    SUGGESTED_EXTENSIONS = ("energies.txt",)

    def __init__(self, unit_name="kilojoule_per_mole", **kwargs):
        super().__init__(**kwargs)
        self.unit = getattr(unit, unit_name)

    def init(self, init_walkers=None, runner=None, **kwargs):
        super().init(**kwargs)
        with open(self.energy_path, mode=self.mode) as file:
            print("#", len(init_walkers), runner.system.getNumParticles(), file=file)

    def report(self, cycle_idx=None, new_walkers=None, **kwargs):
        energies = [
            walker.state.potential_energy.value_in_unit(self.unit) for walker in new_walkers
        ]
        with open(self.energy_path, mode="a") as file:
            print(cycle_idx, *map(repr, energies), file=file)

    def cleanup(self, **kwargs):
        with open(self.energy_path, mode="a") as file:
            print("# the end", file=file)


class SummaryReporter(ProgressiveFileReporter):
    """Written anew each cycle, from what it remembers of all; two files."""

    FILE_ORDER = ("summary_path", "warps_path")
    SUGGESTED_EXTENSIONS = ("summary.txt", "warps.txt")

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.totals = []
        self.n_warps = 0

    def init(self, runner=None, resampler=None, **kwargs):
        super().init(**kwargs)
        self.runner = runner
        self.resampler = resampler

    def report(self, cycle_idx=None, resampled_walkers=None, warp_data=None, **kwargs):
        self.totals.append(sum(walker.weight for walker in resampled_walkers))
        self.n_warps += len(warp_data)
        regions = len(self.resampler.region_tree.regions)
        with open(self.summary_path, self.modes[0]) as file:
            print(cycle_idx, regions, self.runner.platform_name, *self.totals, file=file)
        with open(self.warps_path, self.modes[1]) as file:
            print(self.n_warps, file=file)


class HandleReporter(FileReporter):
    """Holds its file open; the last lines are in memory until it is closed."""

    FILE_ORDER = ("handle_path",)
    SUGGESTED_EXTENSIONS = ("lines.txt",)

    def init(self, **kwargs):
        super().init(**kwargs)
        self.file = open(self.handle_path, self.mode, encoding="utf-16")  # noqa: SIM115
        self.n_lines = 0

    def report(self, cycle_idx=None, new_walkers=None, **kwargs):
        self.n_lines += 1
        positions = new_walkers[0].state["positions"]
        self.file.write(f"{self.n_lines}: {cycle_idx} {positions.tolist()} é\n")

    def cleanup(self, **kwargs):
        self.file.close()


class TableReporter(FileReporter):
    """Holds a csv.writer, which nothing can pickle."""

    FILE_ORDER = ("table_path",)
    SUGGESTED_EXTENSIONS = ("table.csv",)

    def init(self, **kwargs):
        super().init(**kwargs)
        file = open(self.table_path, self.mode, newline="")  # noqa: SIM115
        self.table = csv.writer(file)
        self.file = file

    def report(self, cycle_idx=None, new_walkers=None, **kwargs):
        self.table.writerow([cycle_idx, *(repr(walker.weight) for walker in new_walkers)])

    def cleanup(self, **kwargs):
        self.file.close()


class Killer(Reporter):
    """Kills the process when a cycle is reported, once all others have seen it."""

    SUGGESTED_EXTENSIONS = ()

    def __init__(self, file_paths=None, modes=None, **kwargs):
        super().__init__(**kwargs)

    def report(self, cycle_idx=None, **kwargs):
        if os.environ.get("KILLED_AT") == str(cycle_idx):
            os.kill(os.getpid(), signal.SIGKILL)


class FailingReporter(Reporter):
    """Finds no such thing."""

    SUGGESTED_EXTENSIONS = ()

    def report(self, **kwargs):
        if os.environ.get("FAILS_IN") != "cleanup":
            raise KeyError("no such thing")

    def cleanup(self, **kwargs):
        if os.environ.get("FAILS_IN") == "cleanup":
            raise KeyError("no such end")


class ArgumentsReporter(FileReporter):
    """Writes down of what kinds all of its arguments are, and what the states hold."""

    FILE_ORDER = ("arguments_path",)
    SUGGESTED_EXTENSIONS = ("arguments.txt",)

    def init(self, **kwargs):
        with open(self.arguments_path, self.mode) as file:
            print("init", *described(kwargs), sep="\n  ", file=file)

    def report(self, **kwargs):
        with open(self.arguments_path, "a") as file:
            print("report", *described(kwargs), sep="\n  ", file=file)

    def cleanup(self, **kwargs):
        with open(self.arguments_path, "a") as file:
            print("cleanup", *described(kwargs), sep="\n  ", file=file)


#: Of these wepy and this package have classes of their own, and wepy's notes depend on the mapper.
OWN = ("work_mapper", "worker_segment_times", "reporters")


def described(kwargs):
    for name in sorted(kwargs):
        value = kwargs[name]
        if name in OWN:
            yield f"{name}: {len(value) if name == 'reporters' else '?'}"
        elif name.endswith("_time"):
            yield f"{name}: {'a list' if isinstance(value, list) else 'a number'}"
        elif name.endswith("_walkers"):
            state = value[0].state
            yield f"{name}: {kind(value)} of {len(value)} {kind(value[0])} with {kind(state)}"
            for field in ("positions", "velocities", "box_vectors", "time", "potential_energy"):
                array, quantity = state[field], getattr(state, field)
                yield f"  {field}: {array.shape} {array.dtype} {array.flags.writeable}"
                yield f"  {field}: {quantity.unit} {kind(quantity._value)}"
            yield f"  fields: {sorted(k for k, v in state.dict().items() if v is not None)}"
        else:
            yield f"{name}: {kind(value)}"


def kind(value):
    return f"{type(value).__module__}.{type(value).__qualname__}"
