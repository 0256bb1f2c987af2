"""What a .npy file holds, read with the standard library alone."""

from __future__ import annotations

import ast
import math
from typing import Literal, NamedTuple

_MAGIC = b"\x93NUMPY"
# Headers of plain arrays are far shorter; only structured types have long ones.
_HEADER = 4096
# numpy's name of a number type -> its code in memoryview.cast.
_CODES: dict[str, Literal["d", "f", "q", "i", "B", "Q"]] = {
    "<f8": "d",
    "<f4": "f",
    "<i8": "q",
    "<i4": "i",
    "|b1": "B",
    "|u1": "B",
    "<u8": "Q",
}


class Array(NamedTuple):
    """An array of numbers: numpy's name of its type, its shape, its numbers in a row, and the
    same bits as whole numbers (which tell 0.0 from -0.0, and know NaN)."""

    dtype: str
    shape: tuple[int, ...]
    numbers: memoryview
    bits: memoryview


def npy_header(data: bytes) -> tuple[str, tuple[int, ...]] | None:
    """(dtype, shape) from the first bytes of a .npy file (versions 1 to 3); None if it is none."""
    found = _header(data)
    return None if found is None else found[:2]


def _header(data: bytes) -> tuple[str, tuple[int, ...], int] | None:
    if not data.startswith(_MAGIC) or len(data) < 12:
        return None
    width = 2 if data[6] == 1 else 4
    length = int.from_bytes(data[8 : 8 + width], "little")
    text = data[8 + width : min(8 + width + length, _HEADER)]
    try:
        fields = ast.literal_eval(text.decode("latin-1").strip())
        descr, shape = fields["descr"], fields["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        return None
    if isinstance(descr, str) and isinstance(shape, tuple) and all(type(n) is int for n in shape):
        return descr, shape, 8 + width + length
    return None


def read_array(data: bytes) -> Array | None:
    """The array in a .npy file; None for what is not one of plain numbers in C order."""
    header = _header(data)
    if header is None or b"'fortran_order': True" in data[: header[2]]:
        return None
    dtype, shape, start = header
    code = _CODES.get(dtype)
    if code is None or any(n < 0 for n in shape):
        return None
    width = int(dtype[2:])
    body = memoryview(data)[start:]
    if math.prod(shape) * width != len(body):
        return None
    numbers: memoryview = body.cast(code)  # type: ignore[assignment]
    bits = body.cast("B") if width == 1 else body.cast("I") if width == 4 else body.cast("Q")
    return Array(dtype, shape, numbers, bits)
