"""Batches of small walkers in few arrays: pickling one by one costs more than a short segment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wepystore.engine.mappers.segment import Done, Failed, Task
from wepystore.engine.walker import Walker, WalkerState

#: States larger than this travel as they are, without a copy.
_SMALL_BYTES = 32 * 1024
_FLOAT = np.dtype(np.float64)


def pack_tasks(batch: Sequence[Task]) -> tuple[Any, ...]:
    """What `unpack_tasks` makes a batch of again."""
    # All of a cycle have the same keywords.
    names = list(batch[0].keywords)
    return (
        [task.index for task in batch],
        _pack([task.walker for task in batch]),
        _column([task.length for task in batch]),
        names,
        [_column([task.keywords[name] for task in batch]) for name in names],
    )


def unpack_tasks(packed: tuple[Any, ...]) -> list[Task]:
    """A batch as it was."""
    indices, walkers, lengths, names, columns = packed
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
    fields = _common_fields(walkers) if len(walkers) > 1 else None
    if fields is None:
        return "plain", walkers
    shapes = {name: column[0].shape for name, column in fields.items()}
    try:
        data = b"".join(array for column in fields.values() for array in column)
    except (BufferError, ValueError):  # Not contiguous.
        data = b"".join(array.tobytes() for column in fields.values() for array in column)
    return "stacked", ([walker.weight for walker in walkers], shapes, data)


def _common_fields(walkers: list[Any]) -> dict[str, list[Any]] | None:
    """Each field's arrays, if all walkers are small and of one form."""
    states = []
    for walker in walkers:
        # Whatever is pickled as a WalkerState may be packed as one.
        made = walker.state.__class__
        if type(walker) is not Walker or made.__reduce__ is not WalkerState.__reduce__:
            return None
        states.append(walker.state.dict())
    names = list(states[0])
    if sum(array.nbytes for array in states[0].values()) > _SMALL_BYTES:
        return None
    if any(list(state) != names for state in states):
        return None
    fields = {name: [state[name] for state in states] for name in names}
    for column in fields.values():
        shape = column[0].shape
        for array in column:
            # As a rule there is one such dtype; telling by == takes longer.
            if array.shape != shape or (array.dtype is not _FLOAT and array.dtype != _FLOAT):
                return None
    return fields


def _unpack(packed: tuple[str, Any], n_walkers: int) -> list[Any]:
    kind, content = packed
    if kind == "plain":
        walkers: list[Any] = content
        return walkers
    weights, shapes, data = content
    # Bytes cannot be written to, and so neither can the arrays.
    numbers = np.frombuffer(data, _FLOAT) if data else np.empty(0)
    columns: list[list[Any]] = []
    start = 0
    for shape in shapes.values():
        stop = start + n_walkers * math.prod(shape)
        block = numbers[start:stop].reshape(n_walkers, *shape)
        start = stop
        # The dots keep a field without axes an array.
        columns.append(list(block) if shape else [block[k, ...] for k in range(n_walkers)])
    return [
        Walker(WalkerState.adopt_frozen(dict(zip(shapes, row, strict=True))), weight)
        for weight, *row in zip(weights, *columns, strict=True)
    ]
