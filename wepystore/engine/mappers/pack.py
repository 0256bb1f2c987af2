"""Batches of small walkers in few arrays: pickling one by one costs more than a short segment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wepystore.engine.mappers.segment import Done, Failed, Task
from wepystore.engine.walker import Walker, WalkerState

#: States larger than this travel as they are, without a copy.
_SMALL_BYTES = 32 * 1024


def pack_tasks(batch: Sequence[Task]) -> tuple[Any, ...]:
    """What `unpack_tasks` makes a batch of again."""
    names = list(batch[0].keywords) if batch else []
    if any(list(task.keywords) != names for task in batch):
        return ("tasks", list(batch))
    columns = [_column([task.keywords[name] for task in batch]) for name in names]
    return (
        "columns",
        [task.index for task in batch],
        _pack([task.walker for task in batch]),
        _column([task.length for task in batch]),
        names,
        columns,
    )


def unpack_tasks(packed: tuple[Any, ...]) -> list[Task]:
    """A batch as it was."""
    if packed[0] == "tasks":
        tasks: list[Task] = packed[1]
        return tasks
    _, indices, walkers, lengths, names, columns = packed
    n_tasks = len(indices)
    rows = zip(*(_spread(column, n_tasks) for column in columns), strict=True)
    keywords = [dict(zip(names, row, strict=True)) for row in rows] or [{} for _ in indices]
    return list(map(Task, indices, _unpack(walkers, n_tasks), _spread(lengths, n_tasks), keywords))


def pack_answers(answers: Sequence[Done | Failed]) -> tuple[Any, ...]:
    """What `unpack_answers` makes a list of answers of again."""
    done = [answer for answer in answers if isinstance(answer, Done)]
    return (
        [answer.index for answer in done],
        _pack([answer.result for answer in done]),
        [answer.seconds for answer in done],
        [answer for answer in answers if isinstance(answer, Failed)],
    )


def unpack_answers(packed: tuple[Any, ...]) -> list[Done | Failed]:
    """The answers: those that are done, then those that failed."""
    indices, results, seconds, failures = packed
    done = map(Done, indices, _unpack(results, len(indices)), seconds)
    return [*done, *failures]


def _column(values: list[Any]) -> tuple[bool, Any]:
    """(True, the value) if all are one object, else (False, values)."""
    first = values[0]
    return (True, first) if all(value is first for value in values) else (False, values)


def _spread(column: tuple[bool, Any], n_values: int) -> Sequence[Any]:
    same, value = column
    return [value] * n_values if same else value


def _pack(walkers: list[Any]) -> tuple[str, Any]:
    fields = _common_fields(walkers)
    if fields is None:
        return "plain", walkers
    stacked = {}
    for name in fields:
        block = np.array([walker.state[name] for walker in walkers])
        block.flags.writeable = False
        stacked[name] = block
    return "stacked", ([walker.weight for walker in walkers], stacked)


def _common_fields(walkers: list[Any]) -> list[str] | None:
    """Names of the fields, if all walkers are small and of one form."""
    if len(walkers) < 2:
        return None
    form: list[tuple[str, tuple[int, ...]]] | None = None
    for walker in walkers:
        if type(walker) is not Walker or type(walker.state) is not WalkerState:
            return None
        own = [(name, array.shape) for name, array in walker.state.items()]
        if form is None:
            form = own
            size = sum(array.nbytes for array in walker.state.values())
            if size > _SMALL_BYTES:
                return None
        elif own != form:
            return None
        if any(array.dtype != np.float64 for array in walker.state.values()):
            return None
    return [name for name, _ in form or ()]


def _unpack(packed: tuple[str, Any], n_walkers: int) -> list[Any]:
    kind, content = packed
    if kind == "plain":
        walkers: list[Any] = content
        return walkers
    weights, stacked = content
    for block in stacked.values():
        block.flags.writeable = False
    return [
        # The dots keep a field without axes an array.
        Walker(WalkerState.adopt({name: block[k, ...] for name, block in stacked.items()}), weight)
        for k, weight in zip(range(n_walkers), weights, strict=True)
    ]
