"""Put a walker's state and a seed into an OpenMM context, and read the state back.

There is a documented way, for every platform: seed, setStepCount,
setPeriodicBoxVectors, setTime, setPositions, setVelocities; then getState. For a
few particles it costs ten times as much as ten steps. On the Reference platform
one checkpoint holds all of it, and is loaded or made in a microsecond. So a
checkpoint is put together from a walker's arrays, and the arrays are cut out of
the checkpoint after the segment.

What lies where in a checkpoint is not documented. It is found by trying, and the
fast way is taken only if, in this process and for this very system, it gives the
bits that the documented way gives: see `prove`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm

from wepystore.engine.runners.openmm.seeding import (
    MEMORYLESS_INTEGRATORS,
    ReinitializingSeeder,
    Seeder,
    choose_seeder,
    integrators_with_seeds,
    keeps_to_itself,
    shared_generator,
)
from wepystore.engine.walker import PARAMETERS, WalkerState

State = Mapping[str, Any]
#: The fields a checkpoint is read for, in the order they lie in it.
_FIELDS = ("time", "positions", "velocities", "box_vectors")
_FLOAT = np.dtype("<f8")
_BOX_BYTES = 9 * _FLOAT.itemsize
_STEP_COUNT_ZERO = (0).to_bytes(8, "little")
#: How many steps from one state must agree before the fast way is trusted.
_PROBE_STEPS = 5
_SEEDS = (0x01020304, 0x51626374)


class DocumentedTransfer:
    """The way of OpenMM's manual, for any platform and any integrator."""

    def __init__(self, context: openmm.Context, seeder: Seeder) -> None:
        self._context = context
        self._seed = seeder
        # A state without a box begins in that of a new context, whatever was there before.
        self._box = context.getSystem().getDefaultPeriodicBoxVectors()

    def knows(self, state: State) -> bool:
        """Whether `state` was read by this very transfer."""
        return False

    def put(self, state: State, seed: int) -> None:
        """Make `state` and `seed` all that the next step depends on."""
        context = self._context
        self._seed(seed)
        context.setStepCount(0)
        context.setPeriodicBoxVectors(*state.get("box_vectors", self._box))
        context.setTime(float(np.asarray(state.get("time", 0.0)).reshape(-1)[0]))
        context.setPositions(np.asarray(state["positions"]))
        context.setVelocities(np.asarray(state["velocities"]))
        _set_parameters(context, state)


@dataclass(frozen=True)
class Layout:
    """Where in a checkpoint of one context things lie, bytes from its beginning.

    `step_count` is between `time` and `positions`. `seed` is None where nothing is drawn.
    """

    n_particles: int
    time: int
    positions: int
    velocities: int
    box_vectors: int
    seed: int | None

    @property
    def end(self) -> int:
        """Behind the box vectors."""
        return self.box_vectors + _BOX_BYTES


class CheckpointState(WalkerState):
    """A state as it was cut out of a checkpoint; its arrays are made when they are asked for.

    To put it back into a context laid out in the same way takes its bytes and no array. To
    all others, to a store and to another process, it is a WalkerState.

    Parameters
    ----------
    data : bytes
        A checkpoint from `time` to `end`.
    layout : Layout
    views : {field: (shape, offset in `data`)}, all of `_FIELDS`, in the order of the state's
        fields; without a box where it is that of every new context
    """

    __slots__ = ("_made", "_views", "data", "layout")

    def __init__(
        self, data: bytes, layout: Layout, views: Mapping[str, tuple[tuple[int, ...], int]]
    ) -> None:
        self.data = data
        self.layout = layout
        self._views = views
        self._made: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            return self._made[name]
        except KeyError:
            shape, offset = self._views[name]
        # Bytes cannot be written to, and so neither can the array.
        array = self._made[name] = np.ndarray(shape, _FLOAT, self.data, offset)
        return array

    def __contains__(self, name: object) -> bool:
        return name in self._views

    def __getattr__(self, name: str) -> dict[str, np.ndarray]:
        # Called only for what is not set yet: all fields, which are seldom wanted.
        if name != "_fields":
            raise AttributeError(name)
        self._fields = {field: self[field] for field in self._views}
        return self._fields


class CheckpointTransfer:
    """The fast way on the Reference platform.

    Parameters
    ----------
    context : openmm.Context
    template : bytes
        A checkpoint from before the first random number was drawn. What it
        holds besides the fields and the seed (parameters that a state does
        not name, say) every segment begins with.
    layout : Layout
    """

    def __init__(self, context: openmm.Context, template: bytes, layout: Layout) -> None:
        self._context = context
        self._sweep = shared_generator().sweep
        self._layout = layout
        self._shape = (layout.n_particles, 3)
        self._size = len(template)
        self._head = template[: layout.time]
        # A state without time or box gets those of a new context.
        self._time = bytes(8)
        box = context.getSystem().getDefaultPeriodicBoxVectors()
        self._box = np.array([edge._value for edge in box], _FLOAT).tobytes()
        self._known_box = self._box
        seed = len(template) - 4 if layout.seed is None else layout.seed
        self._middle = template[layout.end : seed]
        self._no_seed = template[seed : seed + 4] if layout.seed is None else None
        self._tail = template[seed + 4 :]

    def knows(self, state: State) -> bool:
        """Whether `state` was read by this very transfer."""
        return type(state) is CheckpointState and state.layout is self._layout

    def put(self, state: State, seed: int) -> None:
        """Make `state` and `seed` all that the next step depends on."""
        moved: tuple[bytes, ...]
        if type(state) is CheckpointState and state.layout is self._layout:
            data = state.data
            time, moved, box = data[:8], (data[16:-_BOX_BYTES],), data[-_BOX_BYTES:]
            parameters = False
        else:
            time, box = self._time, self._box
            if "time" in state:
                time = np.asarray(state["time"], _FLOAT).tobytes()[:8]
            if "box_vectors" in state:
                box = np.asarray(state["box_vectors"], _FLOAT).tobytes()
            moved = (
                np.asarray(state["positions"], _FLOAT).tobytes(),
                np.asarray(state["velocities"], _FLOAT).tobytes(),
            )
            parameters = True
        if box != self._known_box and "box_vectors" in state:
            # OpenMM looks at a new box before it takes it; a checkpoint's it takes as it is.
            self._context.setPeriodicBoxVectors(*state["box_vectors"])
            self._known_box = box
        drawn = seed.to_bytes(4, "little") if self._no_seed is None else self._no_seed
        checkpoint = b"".join(
            (self._head, time, _STEP_COUNT_ZERO, *moved, box, self._middle, drawn, self._tail)
        )
        if len(checkpoint) != self._size:
            raise ValueError(
                f"positions have shape {np.shape(state['positions'])} and velocities "
                f"{np.shape(state['velocities'])}, but the system needs {self._shape}"
            )
        self._sweep()
        self._context.loadCheckpoint(checkpoint)
        if parameters:
            _set_parameters(self._context, state)

    def getter(
        self, names: tuple[str, ...], has_box: bool = True
    ) -> Callable[[], WalkerState] | None:
        """A function that reads the fields `names`; None if a checkpoint lacks one of them.

        Without a box what is read was begun, and goes on, in that of every new context.
        """
        if not set(names) <= set(_FIELDS):
            return None
        context, layout = self._context, self._layout
        cut = slice(layout.time, layout.end)
        shapes = {"time": (), "box_vectors": (3, 3)}
        views = {
            name: (shapes.get(name, self._shape), getattr(layout, name) - cut.start)
            for name in names
        }
        whole = set(views) == set(_FIELDS) - (set() if has_box else {"box_vectors"})

        def get() -> WalkerState:
            # Cut out, which copies: a checkpoint's numbers are not aligned, and the generator's
            # state behind them need not be kept as long as the walker.
            state = CheckpointState(context.createCheckpoint()[cut], layout, views)
            # What is not to be in the state must not come back into a context either.
            return state if whole else WalkerState.adopt(state.dict())

        return get


def _set_parameters(context: openmm.Context, state: State) -> None:
    """Give the context the global parameters that are part of the state."""
    for name in state:
        if name.startswith(PARAMETERS):
            context.setParameter(name[len(PARAMETERS) :], float(np.ravel(state[name])[0]))


def choose_transfer(
    context: openmm.Context, state: State
) -> CheckpointTransfer | DocumentedTransfer:
    """The fastest way that provably equals the documented one for this context.

    Parameters
    ----------
    context : openmm.Context
        What it holds is lost.
    state : mapping
        A physically sensible state to try a few steps from.
    """
    return prove(context, state) or DocumentedTransfer(context, choose_seeder(context))


def prove(context: openmm.Context, state: State) -> CheckpointTransfer | None:
    """A transfer by checkpoints that was seen to equal the documented one, or None.

    1. A context is given known fields and a known seed the documented way. Each
       must be found in its checkpoint, in the order of `Layout`, and once only.
    2. With other fields and another seed put into that checkpoint, it must be,
       byte for byte, the one that the documented way leads to.
    3. From two states with two seeds, some steps after the fast way must give
       the bits that they give after the documented way; each is tried when the
       context held the other one before, and the generator a number left over.
       What is cut out of the checkpoint must be what getState gives.
    """
    integrator = context.getIntegrator()
    if (
        context.getPlatform().getName() != "Reference"
        or type(integrator) not in MEMORYLESS_INTEGRATORS
        or not keeps_to_itself(context.getSystem())
    ):
        return None
    slow = DocumentedTransfer(context, ReinitializingSeeder(context))
    seeded = bool(integrators_with_seeds(integrator))
    try:
        first, second = (
            _checkpoint(context, slow, _distinct(state, number), seed)
            for number, seed in enumerate(_SEEDS)
        )
        layout = _find(first, _distinct(state, 0), _SEEDS[0] if seeded else None)
        if layout is None:
            return None
        fast = CheckpointTransfer(context, first, layout)
        if _checkpoint(context, fast, _distinct(state, 1), _SEEDS[1]) != second:
            return None
        read = fast.getter(_FIELDS)
        trials = [(_like(state, number), seed) for number, seed in enumerate(_SEEDS)]
        expected = [_trial(context, slow, read, *trial) for trial in trials]
        found = [_trial(context, fast, read, *trial) for trial in trials]
    except openmm.OpenMMException:
        return None  # If it matters, the documented way will meet it again.
    return fast if found == expected and None not in expected else None


def _distinct(state: State, number: int) -> dict[str, np.ndarray]:
    """Fields that are in a checkpoint for one reason only; nothing is computed from them."""
    rng = np.random.default_rng(number + 1)
    shape = np.shape(state["positions"])
    box = np.tril(rng.uniform(0.1, 0.2, (3, 3))) + np.diag([5.0, 6.0, 7.0])
    return {
        "positions": rng.random(shape),
        "velocities": rng.random(shape),
        "box_vectors": box,
        "time": rng.random(()),
    }


def _like(state: State, number: int) -> dict[str, np.ndarray]:
    """`state`, moving differently for each `number`, and a little off it for all but 0."""
    rng = np.random.default_rng(number + 11)
    shape = np.shape(state["positions"])
    changed = {name: np.asarray(state[name]) for name in _FIELDS if name in state}
    changed["positions"] = changed["positions"] + number * rng.normal(0.0, 1e-6, shape)
    changed["velocities"] = rng.normal(0.0, 1e-2, shape)
    changed["time"] = np.array(0.25 * number)
    return changed


def _checkpoint(context: openmm.Context, transfer: Any, state: State, seed: int) -> bytes:
    transfer.put(state, seed)
    checkpoint: bytes = context.createCheckpoint()
    return checkpoint


def _find(checkpoint: bytes, state: State, seed: int | None) -> Layout | None:
    """Where `state` and `seed` lie in `checkpoint`; None if not once each, in the known order."""
    places: dict[str, Any] = {"seed": None}
    end = 0
    for name in _FIELDS:
        data = np.asarray(state[name], _FLOAT).tobytes()
        place = checkpoint.find(data)
        if place < end or checkpoint.find(data, place + 1) >= 0:
            return None
        if name == "positions":
            # The step count is not looked for: zeros are anywhere. It must be all that is here.
            if checkpoint[end:place] != _STEP_COUNT_ZERO:
                return None
        elif name != "time" and place != end:
            return None
        places[name] = place
        end = place + len(data)
    if seed is not None:
        data = seed.to_bytes(4, "little")
        places["seed"] = checkpoint.find(data, end)
        if places["seed"] < 0 or checkpoint.find(data, places["seed"] + 1) >= 0:
            return None
    elif len(checkpoint) < end + 4:
        return None
    return Layout(len(state["positions"]), **places)


def _trial(
    context: openmm.Context, transfer: Any, read: Any, state: State, seed: int
) -> bytes | None:
    """The bits after some steps by getState; None if `read` finds others."""
    shared_generator().litter()
    transfer.put(state, seed)
    context.getIntegrator().step(_PROBE_STEPS)
    fields = read()
    found = context.getState(positions=True, velocities=True)
    bits: bytes = b"".join(
        np.asarray(value, _FLOAT).tobytes()
        for value in (
            found.getTime()._value,
            found.getPositions(asNumpy=True)._value,
            found.getVelocities(asNumpy=True)._value,
            found.getPeriodicBoxVectors(asNumpy=True)._value,
        )
    )
    return bits if bits == b"".join(fields[name].tobytes() for name in _FIELDS) else None
