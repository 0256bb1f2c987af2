"""Least-squares superposition of point sets."""

from __future__ import annotations

import numpy as np

from wepystore.coordinates.periodic import Floats

#: So little that what fits decides, and enough to choose among what fits as well.
_LEAST = 1e-9


def rotations(mobile: Floats, reference: Floats, least: bool = False) -> Floats:
    """Proper rotations that bring centred `mobile` sets closest to `reference`.

    The least-squares solution by singular value decomposition, with the sign
    that keeps it a rotation (Kabsch, Acta Cryst. A32, 922, 1976, and A34, 827,
    1978).

    Parameters
    ----------
    mobile : ndarray, shape (n, m, 3)
        n sets of m points, each with its centroid at the origin.
    reference : ndarray, shape (m, 3)
        The same points, centroid at the origin.
    least : bool
        Whether of several, as there are for points on a line, it is the one that turns least;
        else it is any.

    Returns
    -------
    ndarray, shape (n, 3, 3) : R such that ``mobile @ R`` is closest to `reference`
    """
    fit = np.matmul(mobile.transpose(0, 2, 1), reference)
    if least:
        most = np.abs(fit).max(axis=(1, 2))
        fit += np.where(most > 0.0, _LEAST * most, 1.0)[:, None, None] * np.eye(3)
    left, _, right = np.linalg.svd(fit)
    mirrored = np.linalg.det(left) * np.linalg.det(right) < 0
    left[mirrored, :, -1] *= -1
    turned: Floats = np.matmul(left, right)
    return turned


def rmsd(sets: Floats, reference: Floats) -> Floats:
    """Root mean square deviation (n,) of point sets (n, m, 3) from one (m, 3), as they lie."""
    squares: Floats = ((sets - reference) ** 2).sum(axis=(1, 2))
    deviations: Floats = np.sqrt(squares / reference.shape[0])
    return deviations
