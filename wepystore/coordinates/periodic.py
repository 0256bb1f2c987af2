"""Nearest periodic images in any lower-triangular box, vectorised.

Box vectors are the rows a, b, c of a (3, 3) array, nm, in the form OpenMM
keeps them: a = (ax, 0, 0), b = (bx, by, 0), c = (cx, cy, cz) with positive
diagonal.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Pairs of atoms handled at once by `minimum_distances`: 3 arrays of 8 MB each.
_CHUNK = 1_000_000
#: Pairs of atoms in a state from which on it pays to leave out the atoms that are far anyway.
_WORTH_PRUNING = 2_000


def check_boxes(boxes: Floats) -> Floats:
    """`boxes` (..., 3, 3), nm, as float64.

    Raises
    ------
    ValueError : not three vectors, not lower triangular, or flat.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.shape[-2:] != (3, 3):
        raise ValueError(f"box vectors must have shape (..., 3, 3), got {boxes.shape}")
    if boxes[..., 0, 1:].any() or boxes[..., 1, 2].any():
        raise ValueError(
            "box vectors must be lower triangular: a along x, b in the xy plane "
            "(as openmm's reducePeriodicBoxVectors gives them for a rotated box)"
        )
    diagonal = np.diagonal(boxes, axis1=-2, axis2=-1)
    if not (diagonal > 0).all():
        raise ValueError(
            "the diagonal of the box vectors must be positive, got "
            f"{diagonal.reshape(-1, 3)[(diagonal.reshape(-1, 3) <= 0).any(axis=1)][0]}: "
            "give periodic=False if the system is not periodic"
        )
    return boxes


def wrap(displacements: Floats, boxes: Floats) -> Floats:
    """Displacements (..., 3) shifted by box vectors into the brick |x| <= ax/2, |y| <= by/2, ….

    This is the nearest image wherever that is nearer than half the smallest of
    ax, by, cz, and everywhere in a rectangular box; elsewhere use `minimum_image`.
    """
    wrapped = np.array(displacements, dtype=np.float64)
    for axis in (2, 1, 0):
        turns = np.round(wrapped[..., axis] / boxes[..., axis, axis])
        for component in range(axis + 1):
            wrapped[..., component] -= turns * boxes[..., axis, component]
    return wrapped


def minimum_image(displacements: Floats, boxes: Floats) -> Floats:
    """The shortest of each displacement's periodic images.

    Exact for every lower-triangular box, reduced or not, however long the
    displacement: every shift that could be shorter than the wrapped vector is tried.

    Parameters
    ----------
    displacements : ndarray, shape (..., 3), nm
    boxes : ndarray, shape (3, 3) or broadcastable to (..., 3, 3), nm

    Returns
    -------
    ndarray, shape (..., 3), nm
    """
    boxes = check_boxes(boxes)
    wrapped = wrap(displacements, boxes)
    if not skewed(boxes).any():
        return wrapped
    half = half_width(boxes)
    # A vector inside the sphere that the brick holds has no shorter image.
    far = (wrapped**2).sum(axis=-1) > np.broadcast_to(half, wrapped.shape[:-1]) ** 2
    if not far.any():
        return wrapped
    wide = np.broadcast_to(boxes, (*wrapped.shape[:-1], 3, 3))
    wrapped[far] = _shortest_shift(wrapped[far], wide[far])
    return wrapped


def _shortest_shift(wrapped: Floats, boxes: Floats) -> Floats:
    """`wrapped` (n, 3), already in the brick, shifted to its shortest image; boxes (n, 3, 3)."""
    edges = np.diagonal(boxes, axis1=-2, axis2=-1)
    # No image longer than half the brick's diagonal can win, which bounds the shifts along c and,
    # once y is wrapped again, along b; along a, wrapping x again is exact by itself.
    reach = 0.5 * np.sqrt((edges**2).sum(axis=-1))
    shifts_c = int(np.floor(reach / edges[:, 2] + 0.5).max())
    shifts_b = int(np.floor(reach / edges[:, 1] + 0.5).max())
    best = wrapped.copy()
    best_square = (best**2).sum(axis=-1)
    for turn_c in range(-shifts_c, shifts_c + 1):
        along_c = wrapped + turn_c * boxes[:, 2]
        along_c -= np.round(along_c[:, 1] / edges[:, 1])[:, np.newaxis] * boxes[:, 1]
        for turn_b in range(-shifts_b, shifts_b + 1):
            tried = along_c + turn_b * boxes[:, 1]
            tried[:, 0] -= np.round(tried[:, 0] / edges[:, 0]) * edges[:, 0]
            square = (tried**2).sum(axis=-1)
            better = square < best_square
            best[better] = tried[better]
            best_square[better] = square[better]
    return best


def minimum_distances(group_a: Floats, group_b: Floats, boxes: Floats | None) -> Floats:
    """The shortest distance between two groups of atoms, for each of n states.

    Parameters
    ----------
    group_a, group_b : ndarray, shapes (n, A, 3) and (n, B, 3), nm
    boxes : ndarray, shape (n, 3, 3), nm, or None for no periodicity

    Returns
    -------
    ndarray, shape (n,), nm
    """
    n_states, n_a = group_a.shape[:2]
    n_b = group_b.shape[1]
    if boxes is not None:
        boxes = check_boxes(boxes)
    if n_a * n_b >= _WORTH_PRUNING:
        return np.array(
            [
                _pruned_minimum(group_a[idx], group_b[idx], None if boxes is None else boxes[idx])
                for idx in range(n_states)
            ]
        )
    return _all_pairs_minimum(group_a, group_b, boxes)


def _pruned_minimum(a: Floats, b: Floats, box: Floats | None) -> float:
    """The shortest distance between a (A, 3) and b (B, 3), looking only at atoms that can have it.

    With every atom of `a` within r of their centroid c, the shortest distance is at most
    min|b - c| + r, and that of any atom of `b` at least |b - c| - r: atoms of `b` further
    from c than min|b - c| + 2r cannot have it. That holds for nearest images as well.
    """
    centroid = a.mean(axis=0)
    radius = float(np.sqrt(((a - centroid) ** 2).sum(axis=1).max()))
    vectors = b - centroid
    if box is not None:
        vectors = minimum_image(vectors, box)
    lengths = np.sqrt((vectors**2).sum(axis=1))
    # A hair more than the bound, so that rounding excludes no atom.
    near = b[lengths <= (lengths.min() + 2 * radius) * (1 + 1e-9)]
    if not len(near):  # only if a position is not a number
        near = b
    boxes = None if box is None else box[np.newaxis]
    return float(_all_pairs_minimum(a[np.newaxis], near[np.newaxis], boxes)[0])


def _all_pairs_minimum(group_a: Floats, group_b: Floats, boxes: Floats | None) -> Floats:
    """As `minimum_distances`, by looking at every pair."""
    n_states, n_a = group_a.shape[:2]
    n_b = group_b.shape[1]
    shortest = np.full(n_states, np.inf)
    # Small groups: many states at once; large ones: one state and some rows of it at a time.
    states_at_once = max(1, _CHUNK // (n_a * n_b))
    rows_at_once = max(1, _CHUNK // n_b)
    for first, row in itertools.product(
        range(0, n_states, states_at_once), range(0, n_a, rows_at_once)
    ):
        some = slice(first, first + states_at_once)
        a = group_a[some, row : row + rows_at_once, np.newaxis]
        b = group_b[some, np.newaxis]
        squares = _nearest_squares(a, b, None if boxes is None else boxes[some])
        np.minimum(shortest[some], squares, out=shortest[some])
    np.sqrt(shortest, out=shortest)
    return shortest


def _nearest_squares(a: Floats, b: Floats, boxes: Floats | None) -> Floats:
    """Smallest squared distance (n,) between a (n, A, 1, 3) and b (n, 1, B, 3)."""
    squares: Floats = wrapped_squares(a, b, boxes).min(axis=(1, 2))
    if boxes is None:
        return squares
    # If any pair is nearer than `half`, wrapping has found the nearest exactly (see `wrap`).
    half = half_width(boxes)
    for idx in np.flatnonzero(skewed(boxes) & (squares > half**2)):
        vectors = minimum_image(a[idx] - b[idx], boxes[idx])
        squares[idx] = (vectors**2).sum(axis=-1).min()
    return squares


def half_width(boxes: Floats) -> Floats:
    """Half of the smallest of ax, by and cz of boxes (..., 3, 3): `wrap` is exact below it."""
    half: Floats = 0.5 * np.diagonal(boxes, axis1=-2, axis2=-1).min(axis=-1)
    return half


def skewed(boxes: Floats) -> NDArray[np.bool_]:
    """Which of boxes (..., 3, 3) are not rectangular."""
    found: NDArray[np.bool_] = boxes[..., 1, 0].astype(bool) | boxes[..., 2, :2].any(axis=-1)
    return found


def wrapped_squares(a: Floats, b: Floats, boxes: Floats | None) -> Floats:
    """Squared lengths (n, A, B) of what is between a (n, A, 1, 3) and b (n, 1, B, 3), wrapped.

    Those of the nearest images wherever `wrap` gives these.
    """
    xyz = [a[..., axis] - b[..., axis] for axis in range(3)]
    for axis in (2, 1, 0) if boxes is not None else ():
        assert boxes is not None
        turns = np.round(xyz[axis] / boxes[:, axis, axis, np.newaxis, np.newaxis])
        for component in range(axis + 1):
            step = boxes[:, axis, component, np.newaxis, np.newaxis]
            if step.any():
                xyz[component] -= turns * step
    squares: Floats = xyz[0] ** 2 + xyz[1] ** 2 + xyz[2] ** 2
    return squares
