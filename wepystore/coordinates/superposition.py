"""Least-squares superposition of point sets."""

from __future__ import annotations

import numpy as np

from wepystore.coordinates.periodic import Floats


def rotations(mobile: Floats, reference: Floats) -> Floats:
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

    Returns
    -------
    ndarray, shape (n, 3, 3) : R such that ``mobile @ R`` is closest to `reference`
    """
    left, _, right = np.linalg.svd(np.matmul(mobile.transpose(0, 2, 1), reference))
    mirrored = np.linalg.det(left) * np.linalg.det(right) < 0
    left[mirrored, :, -1] *= -1
    turned: Floats = np.matmul(left, right)
    return turned


def rmsd(sets: Floats, reference: Floats) -> Floats:
    """Root mean square deviation (n,) of point sets (n, m, 3) from one (m, 3), as they lie."""
    squares: Floats = ((sets - reference) ** 2).sum(axis=(1, 2))
    deviations: Floats = np.sqrt(squares / reference.shape[0])
    return deviations
