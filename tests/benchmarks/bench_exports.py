"""What is recorded of a run to a .h5 file, against `cp` of the same bytes.

    python -m tests.benchmarks.bench_exports [DIR]

- 100 cycles of 10,000 atoms of 48 walkers, in single precision: `cp` copies the objects with the
  frames; then some atoms, another format, and a file that says where in the store they are.
- 2,000 cycles of 48 walkers of one atom: records, of which there are 100,000.

Both write to the same folder, in turns, to files that are not there. Nothing is synced.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import table
from tests.benchmarks.bench_lineages import N_CYCLES, N_WALKERS, fastest, recorded
from tests.benchmarks.table import Row
from wepystore.api import Store, export_run, load_run
from wepystore.records.run_frames import read_frames
from wepystore.records.tables import read_recording

N_ATOMS = 10_000

#: Of cp's.
LIMIT = 1.5


def frame_objects(store: Store, run: str) -> list[str]:
    """The files with the frames."""
    recording = read_recording(store, load_run(store, run))
    assert recording is not None
    blocks = read_frames(store, recording, run).blocks
    return [str(store.file("objects", part.ref.md5)) for b in blocks for part in b.parts]


def exporting(store: Store, run: str, file: Path, **options: Any) -> Callable[[], Any]:
    """Writes to a file that is not there."""

    def write() -> None:
        for each in file.parent.glob(f"{file.stem}.*"):
            each.unlink()
        export_run(store, run, file, **options)

    return write


def rows(arguments: Sequence[str]) -> Iterator[Row]:
    """All of it."""
    with tempfile.TemporaryDirectory(dir=next(iter(arguments), None)) as name:
        folder = Path(name)
        store, run = recorded(folder, N_ATOMS, N_CYCLES)
        files = frame_objects(store, run)
        size = sum(Path(file).stat().st_size for file in files)
        copies = folder / "copies"

        def copied() -> None:
            subprocess.run(["rm", "-rf", copies], check=True)
            copies.mkdir()
            subprocess.run(["cp", *files, copies], check=True)

        cp, whole, link, some = fastest(
            copied,
            exporting(store, run, folder / "a.h5"),
            exporting(store, run, folder / "b.h5", link=True),
            exporting(store, run, folder / "c.h5", atoms="0-9"),
            n=7,
        )
        said = f"{whole:.0f} of {cp:.0f} ms, {size / 1e6:.0f} MB"
        what = f"{N_CYCLES} cycles of {N_WALKERS} x {N_ATOMS} atoms to .h5"
        yield Row(what, whole / cp, "x cp", most=LIMIT, detail=said)
        yield Row("the same, linked", link / cp, "x cp")
        yield Row("ten of the atoms", some / cp, "x cp")
        store, run = recorded(folder, 1, 2_000)
        (records,) = fastest(exporting(store, run, folder / "d.h5"), n=3)
        yield Row("2,000 cycles of 48 x 1 atom, mostly records", records / 1e3, "s")


if __name__ == "__main__":
    sys.exit(table.main(__doc__, rows))
