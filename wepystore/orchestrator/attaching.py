"""An existing WepyHDF5 file becomes the recording of the run that it is of (D7).

It is read as if each of its cycles had just happened, by what records a run that goes on, so that
there is one way only in which a recording is made; and an attachment names it and the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wepystore.engine import topology
from wepystore.engine.ensemble import Ensemble
from wepystore.engine.kept_frames import PRECISIONS, USUAL
from wepystore.engine.kept_frames import Recording as Choice
from wepystore.engine.record_tables import REPORT_KEYS
from wepystore.engine.runners.openmm.xml import particle_masses
from wepystore.engine.walker import UNITS
from wepystore.errors import FailedError
from wepystore.orchestrator.run.film import Film, Shots
from wepystore.orchestrator.run.recorder import Recorder, SoFar
from wepystore.orchestrator.run.series import Object, Pending
from wepystore.records import frames as frames_module
from wepystore.records.attached import encode_attachment
from wepystore.records.frames import FrameField, Frames
from wepystore.records.library import AnyStore, opened
from wepystore.records.recording import Columns, Layout, Recording, block_cycles_for
from wepystore.records.run import RunRecord, read_record
from wepystore.records.sinks import Remembering
from wepystore.records.snapshot import decode_walkers
from wepystore.reporters.hdf5.run_in_file import RunInFile, Stretch, WepyHDF5File
from wepystore.store import formats
from wepystore.store.attachments import read_attachments
from wepystore.store.batch import Batch
from wepystore.store.names import EntryRef, Ref
from wepystore.store.resolving import resolve
from wepystore.store.store import Store

#: What single precision may differ by: of the numbers, and in nm.
_PART, _NM = 1e-6, 1e-6


class RecordedAlreadyError(FailedError):
    """run {run} has a recording of its own, and that is the one that counts"""


class AttachedAlreadyError(FailedError):
    """another recording is attached to run {run}: remove {file} if {given} is to take its place"""


class OfAnotherRunError(FailedError):
    """{file} is not of run {run}: {why}"""


class NoSuchFieldError(FailedError):
    """the states in {file} have no {field!r}; they have {there}"""


def add_trajectories(
    store: AnyStore,
    run: str,
    file: str | os.PathLike[str],
    *,
    run_idx: int | None = None,
    fields: Sequence[str] | None = None,
    precision: str = "float32",
) -> str:
    """Attach what is in a WepyHDF5 file, of this package's or of wepy's, to the run that it is of.

    Nothing of the file is executed, and nothing of the store unpickled.

    Parameters
    ----------
    store : Store, str or path
        The store, or a job folder that one is in.
    run : str
        Hash of the run's record, a prefix of it, or a tag.
    file : str or path
    run_idx : int or None
        Which of the runs in the file; None for its only one.
    fields : sequence of str or None
        Of which of the states' fields frames are kept, NaN where they are not in each cycle; ()
        for none, None for positions and box.
    precision : str
        "float32" or "float64".

    Returns
    -------
    str
        The hash of the attachment. The same file again gives the same.

    Raises
    ------
    WepystoreError : OfAnotherRunError for a file that does not fit the run's record, its start or
        its end; RecordedAlreadyError, AttachedAlreadyError; UnreadableHDF5Error, NoSuchFieldError,
        NoSuchRunInFileError, SeveralRunsInFileError; MissingError where start or end are not here.
    OSError : there is no such file.
    """
    store = opened(store)
    _, md5 = resolve(store, run, ("runs",))
    record = read_record(store, md5)
    if record.recording is not None:
        raise RecordedAlreadyError(run=md5)
    with WepyHDF5File(file) as held:
        found = held.run(run_idx)
        fit = _Fit(store, md5, record, held.path, found)
        fit.check()
        chosen = _chosen(held.path, found, fields, precision)
        with store.batch() as batch:
            recording = _record(store, record, found, chosen, fit.n_atoms, batch)
            for other in read_attachments(store).get(md5, ()):
                if other.recording != recording:
                    there = store.locate("attachments", other.md5)
                    raise AttachedAlreadyError(run=md5, file=there, given=held.path)
            of = EntryRef("runs", Ref.of(store.read("runs", md5)))
            return encode_attachment(of, recording, Remembering(batch, {})).md5


# ---- does it belong to the run?


class _Fit:
    """Compares a run in a file with a run record. What one of them does not tell is not compared.

    Attributes
    ----------
    n_atoms : int or None
        Of the run, as far as its start tells.
    """

    def __init__(
        self, store: Store, md5: str, record: RunRecord, file: str, found: RunInFile
    ) -> None:
        self._store, self._md5, self._record = store, md5, record
        self._file, self._found = file, found
        self.n_atoms: int | None = None

    def check(self) -> None:
        """Raise OfAnotherRunError unless it fits."""
        self._facts()
        if self._found.n_cycles != self._record.n_cycles:
            raise self._unlike("cycles", self._found.n_cycles, self._record.n_cycles)
        self._beginning(*self._walkers(self._record.start))
        self._end(*self._walkers(self._record.end))

    def _facts(self) -> None:
        record = self._record
        for what, theirs, ours in (
            ("start", "start_snapshot_hash", record.start.md5),
            ("configuration", "config_hash", record.config.md5),
            ("seed", "seed", record.seed),
            ("steps of a segment", "n_segment_steps", record.n_steps),
            ("end", "end_snapshot_hash", record.end.md5),
        ):
            told = self._found.facts.get(theirs)
            if told is not None and ours is not None and told != ours:
                raise self._unlike(what, told, ours)

    def _walkers(self, entry: EntryRef) -> tuple[Sequence[float] | None, Sequence[Any]]:
        """Weights of a snapshot's walkers, and their positions, of which nothing is unpickled. Of
        one of wepy's, which is a pickle as a whole, None, and the positions that can be told all
        the same, of walkers and perhaps of more."""
        found = self._store.read_manifest("snapshots", entry.md5, entry.ref)
        other = formats.stands_for(found.value)
        if other is not None:
            held = (np.reshape(each, (-1, 3)) for each in other.positions(found.data))
            return None, [self._chosen(each) for each in held]
        walkers = decode_walkers(found.value, found.fetch, f"snapshot {entry.md5}")
        states = [self._chosen(walker.state.get("positions")) for walker in walkers]
        return [walker.weight for walker in walkers], states

    def _beginning(self, weights: Sequence[float] | None, states: Sequence[Any]) -> None:
        began, every = list(self._found.beginning()), _Positions(states)
        if weights is not None and began and len(began) != len(weights):
            raise self._unlike("walkers at the start", len(began), len(weights))
        for walker, (weight, positions) in enumerate(began):
            if weights is not None and not np.isclose(weight, weights[walker], rtol=1e-9, atol=0.0):
                raise self._unlike(f"weight of walker {walker}", weight, weights[walker])
            ours = every if weights is None else _Positions(states[walker : walker + 1])
            if positions is not None and ours and positions not in ours:
                why = f"walker {walker} did not begin at positions of the run's start"
                raise self._not_ours(why)

    def _end(self, weights: Sequence[float] | None, states: Sequence[Any]) -> None:
        """Each state at the end is one of those of the last cycle, whatever the resampler did with
        them; unless some were warped in it."""
        last = self._found.n_cycles - 1
        told = [each for each in states if each is not None]
        has_positions = "positions" in self._found.shapes.keys() - self._found.sparse.keys()
        if last < 0 or not has_positions or not told:
            return
        cycle = self._found.stretch(last, last + 1, ["positions"])
        if len(cycle.records[0].get("warping", ())):
            return
        there = _Positions(cycle.states[0]["positions"])
        fits = (each in there for each in told)
        # Of one of wepy's it is enough that some are: nobody knows which are walkers'.
        if not (all(fits) if weights is not None else any(fits)):
            raise self._not_ours("the run does not end where the walkers of its last cycle are")

    def _chosen(self, positions: Any) -> NDArray[Any] | None:
        """Those of the atoms that the file has; None where there are none."""
        atoms = self._found.atoms
        if positions is None:
            return None
        self.n_atoms = len(positions)
        if atoms is None:
            return np.asarray(positions)
        if atoms.max() >= len(positions):
            raise self._not_ours(f"it has positions of atom {atoms.max()} of {len(positions)}")
        chosen: NDArray[Any] = positions[atoms]
        return chosen

    def _unlike(self, what: str, theirs: object, ours: object) -> OfAnotherRunError:
        return self._not_ours(f"{what}: {theirs!s:.60} in the file, {ours} in the run")

    def _not_ours(self, why: str) -> OfAnotherRunError:
        return OfAnotherRunError(file=self._file, run=self._md5, why=why)


class _Positions:
    """The positions of some states, as far as they are told, to single precision."""

    def __init__(self, states: Iterable[NDArray[Any] | None]) -> None:
        self._held = [each for each in states if each is not None]
        # Most are the same to the bit: to compare each with each takes minutes of thousands.
        self._known = {(each.shape, np.float32(each).tobytes()) for each in self._held}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return iter(self._held)

    def __contains__(self, positions: NDArray[Any]) -> bool:
        return (positions.shape, np.float32(positions).tobytes()) in self._known or any(
            each.shape == positions.shape and np.allclose(each, positions, rtol=_PART, atol=_NM)
            for each in self._held
        )


# ---- as if it happened now


def _chosen(
    file: str, found: RunInFile, fields: Sequence[str] | None, precision: str
) -> tuple[FrameField, ...]:
    """The fields of which frames are kept, sorted."""
    choice = Choice(USUAL if fields is None else fields, precision=precision)
    throughout = found.shapes.keys() - found.sparse.keys()
    names = [name for name in choice.fields if fields is not None or name in throughout]
    for name in names:
        if name not in found.shapes:
            there = ", ".join(sorted(found.shapes)) or "none"
            raise NoSuchFieldError(file=file, field=name, there=there)
    dtype = PRECISIONS[precision]
    return tuple(
        FrameField(name, found.shapes[name], dtype, UNITS.get(name)) for name in sorted(names)
    )


def _record(
    store: Store,
    record: RunRecord,
    found: RunInFile,
    fields: Sequence[FrameField],
    n_atoms: int | None,
    batch: Batch,
) -> EntryRef:
    """Put the recording of a run in a file; its entry."""
    layout = Layout(found.fields, found.summaries)
    runner = _runner_of(store, record.start)
    n_walkers = int(found.n_walkers[0]) if found.n_cycles else 0
    recording = Recording(
        n_steps=record.n_steps,
        block_cycles=block_cycles_for(n_walkers),
        columns=tuple(layout.names()),
        decisions=found.decisions,
        summaries=found.summaries,
        topology=_topology(runner, store, found, batch),
        masses=_masses(runner, store, n_atoms),
        step_size_ps=record.execution.step_size_ps,
    )
    frames = None
    if fields:
        size = sum(field.n_bytes for field in fields)
        n_cycles = frames_module.block_cycles_for(n_walkers, size, 1)
        if n_atoms is None:
            n_atoms = topology.n_atoms(found.topology) if found.topology else 0
        is_all = found.atoms is None or np.array_equal(found.atoms, np.arange(n_atoms))
        frames = Frames(tuple(fields), 1, n_cycles, atoms=None if is_all else found.atoms)
    recorder = Recorder(layout, SoFar(recording), Film.of(frames, has_all_atoms=False))
    recorder.put_with(_Into(batch))
    for stretch in found.stretches([field.name for field in fields]):
        for report in _reports(stretch):
            recorder.add(report)
            recorder.keep()
    return recorder.so_far(last=True)(Remembering(batch, {})).entry


def _reports(stretch: Stretch) -> Iterator[dict[str, Any]]:
    """What reporters would have been told of each cycle."""
    each = zip(stretch.weights, stretch.states, stretch.records, strict=True)
    for weights, states, records in each:
        told = {key: records.get(table) for table, key in REPORT_KEYS.items()}
        yield {"new_walkers": Ensemble.adopt(weights, states)} | told


def _topology(runner: Mapping[str, Any], store: Store, found: RunInFile, sink: Batch) -> Ref | None:
    """As the start has it, or where that does not tell, as the file has."""
    # Bytes, not a text of our own (Remembering.put_text): it may be anybody's, and is not trusted.
    if "topology" in runner:
        held = runner["topology"]
        # Put again with the rest: nobody may clean it away meanwhile.
        return sink.put("objects", store.object(held)) if held is not None else None
    if not found.topology:
        return None
    return sink.put("objects", found.topology.encode())


def _runner_of(store: Store, start: EntryRef) -> dict[str, Any]:
    """The parameters of a start's runner that are texts, as Refs, or None; nothing of it is made.
    Empty for one that is a pickle."""
    manifest = store.manifest("snapshots", start.md5, start.ref)
    apparatus = manifest.get("apparatus")
    runner = apparatus.get("runner") if isinstance(apparatus, dict) else None
    component = runner.get("component") if isinstance(runner, dict) else None
    params = component.get("params") if isinstance(component, dict) else None
    if not isinstance(params, dict):
        return {}
    found: dict[str, Any] = {"topology": None}
    for name, value in params.items():
        if isinstance(value, dict) and value.keys() == {"text"}:
            found[name] = Ref.from_json(value["text"], f"snapshot {start.md5}")
    return found


def _masses(runner: Mapping[str, Any], store: Store, n_atoms: int | None) -> NDArray[Any] | None:
    """Of the atoms, Da, as OpenMM's text of the system has them."""
    if not isinstance(runner.get("system"), Ref):
        return None
    found = particle_masses(store.object(runner["system"]).decode("utf-8", "replace"))
    return found if found is not None and len(found) == n_atoms else None


class _Done:
    """What has been written (series.Pending)."""

    def __init__(self, refs: list[Ref]) -> None:
        self._refs = refs

    def done(self) -> bool:
        return True

    def result(self) -> list[Ref]:
        return self._refs


class _Into:
    """Takes full blocks of a recording into a batch: all of it gets its names at once."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def take_tables(self, objects: Callable[[], list[Object]], columns: Columns) -> Pending:
        return self._put(objects)

    def take_frames(self, objects: Callable[[], list[Object]], shots: Shots) -> Pending:
        return self._put(objects)

    def _put(self, objects: Callable[[], list[Object]]) -> Pending:
        return _Done([self._batch.put("objects", each) for each in objects()])
