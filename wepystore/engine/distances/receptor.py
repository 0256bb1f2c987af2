"""Distances on a ligand seen from its receptor's binding site."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from wepystore.coordinates.periodic import minimum_image
from wepystore.coordinates.superposition import rmsd, rotations
from wepystore.engine.distances.base import (
    Distance,
    atom_indices,
    state_boxes,
    state_positions,
)
from wepystore.engine.ensemble import Floats


class ReceptorLigandDistance(Distance):
    """Base: the image is the ligand in the frame of the reference's binding site.

    The ligand is brought, as one body, to the periodic image whose centroid is
    nearest to that of the binding site; then the binding site is superposed on
    that of the reference state and the ligand moved with it. Molecules are
    taken to be whole, as OpenMM gives them.

    Parameters
    ----------
    ligand_idxs : list of int
    binding_site_idxs : list of int
        Atoms to superpose: at least three, not on one line.
    ref_state : WalkerState
        Defines the frame (and, in subclasses, the reference pose).
    periodic : bool
        Whether positions are folded by the state's box vectors.
    """

    ATOM_PARAMETERS: ClassVar[tuple[str, ...]] = ("ligand_idxs", "binding_site_idxs")

    def __init__(
        self,
        ligand_idxs: Iterable[int],
        binding_site_idxs: Iterable[int],
        ref_state: Any,
        periodic: bool = True,
    ) -> None:
        self.ligand_idxs = atom_indices(ligand_idxs, "ligand_idxs")
        self.binding_site_idxs = atom_indices(binding_site_idxs, "binding_site_idxs")
        if len(self.binding_site_idxs) < 3:
            raise ValueError(
                f"binding_site_idxs holds {len(self.binding_site_idxs)} atoms; "
                "at least 3 are needed to superpose one binding site on another"
            )
        self.ref_state = ref_state
        self.periodic = bool(periodic)
        self._ligand = np.array(self.ligand_idxs)
        self._site = np.array(self.binding_site_idxs)
        site = state_positions(ref_state, self._site, "binding_site_idxs")
        self._ref_site = site - site.mean(axis=0)
        spread = np.linalg.svd(self._ref_site, compute_uv=False)
        if spread[1] <= 1e-9 * max(spread[0], 1e-300):
            raise ValueError(
                "the atoms of binding_site_idxs lie on one line in ref_state, "
                "so how to turn one binding site onto another is not defined"
            )

    def ligands(self, states: Sequence[Any]) -> Floats:
        """Ligand positions in the frame of the reference, shape (n, n_ligand_atoms, 3), nm."""
        ligands = np.stack([state_positions(s, self._ligand, "ligand_idxs") for s in states])
        sites = np.stack([state_positions(s, self._site, "binding_site_idxs") for s in states])
        origins = sites.mean(axis=1, keepdims=True)
        ligands = ligands - origins
        if self.periodic:
            centroids = ligands.mean(axis=1)
            nearest = minimum_image(centroids, state_boxes(states))
            ligands += (nearest - centroids)[:, np.newaxis]
        turned: Floats = np.matmul(ligands, rotations(sites - origins, self._ref_site))
        return turned

    def images(self, states: Sequence[Any]) -> Floats:
        """The ligands in the frame of the reference: `ligands`."""
        return self.ligands(states)


class UnbindingDistance(ReceptorLigandDistance):
    """RMSD of the ligand between two states after superposing their binding sites, nm.

    States whose ligands left the site in different directions are far apart.
    Parameters as for `ReceptorLigandDistance`.
    """

    def image_distances(self, image: Floats, images: Floats) -> Floats:
        """Ligand RMSD of `image` to each of `images`, shape (n,), nm."""
        return rmsd(images, image)


class RebindingDistance(ReceptorLigandDistance):
    """|1/r_a - 1/r_b|, r being the ligand's RMSD to its pose in the reference state, 1/nm.

    Resolves states the finer the nearer they are to the reference pose. The
    image is r, shape (1,). Parameters as for `ReceptorLigandDistance`.
    """

    #: An RMSD below this counts as this, so that the reference pose itself is not infinitely far.
    closest = 1e-6

    def __init__(
        self,
        ligand_idxs: Iterable[int],
        binding_site_idxs: Iterable[int],
        ref_state: Any,
        periodic: bool = True,
    ) -> None:
        super().__init__(ligand_idxs, binding_site_idxs, ref_state, periodic)
        self._ref_ligand = self.ligands([ref_state])[0]

    def images(self, states: Sequence[Any]) -> Floats:
        """RMSD to the reference pose, shape (n, 1), nm."""
        return rmsd(self.ligands(states), self._ref_ligand)[:, np.newaxis]

    def image_distances(self, image: Floats, images: Floats) -> Floats:
        """|1/r_a - 1/r_b|, shape (n,), 1/nm."""
        here = 1.0 / max(float(image[0]), self.closest)
        return np.abs(1.0 / np.maximum(images[:, 0], self.closest) - here)
