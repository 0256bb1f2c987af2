"""Overdamped Langevin dynamics on a potential in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from wepystore.engine.component import Component
from wepystore.engine.ensemble import Floats
from wepystore.engine.errors import SegmentError
from wepystore.engine.parameters import positive
from wepystore.engine.protocols import PotentialCapabilities, Properties
from wepystore.engine.runners.base import EnsembleRunner
from wepystore.engine.walker import WalkerState


class Potential(Component):
    """Base of the potentials: an energy and its gradient, for many walkers at once.

    A subclass of a user's own gives both methods; it is kept in a store as a pickle.
    """

    #: Whether `gradient` gives the same bits on every machine: it does if it is made
    #: of sums, differences, products and quotients in a fixed order alone.
    exact: ClassVar[bool] = False

    def energy(self, x: Floats) -> Floats:
        """Energies, shape (n,), kJ/mol, of positions `x`, shape (n, n_atoms, n_dims), nm."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its energy is")

    def gradient(self, x: Floats) -> Floats:
        """dV/dx, the shape of `x`, kJ/(mol nm)."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its gradient is")


class DoubleWell(Potential):
    """V(x) = height (x^2 - 1)^2 in every coordinate: minima at -1 and 1 nm, a barrier at 0.

    Parameters
    ----------
    height : float, > 0, kJ/mol
        Of the barrier.
    """

    exact: ClassVar[bool] = True

    def __init__(self, height: float = 5.0) -> None:
        self.height = positive(height, "height")

    def energy(self, x: Floats) -> Floats:
        """Energies, shape (n,), kJ/mol."""
        wells = x * x - 1.0
        energies: Floats = (self.height * (wells * wells)).sum(axis=(1, 2))
        return energies

    def gradient(self, x: Floats) -> Floats:
        """4 height x (x^2 - 1), the shape of `x`, kJ/(mol nm)."""
        return (4.0 * self.height) * (x * (x * x - 1.0))


class Harmonic(Potential):
    """V(x) = k/2 (x - center)^2 in every coordinate.

    Parameters
    ----------
    k : float, > 0, kJ/(mol nm^2)
    center : float or array_like, shape (n_dims,) or (n_atoms, n_dims), nm
    """

    exact: ClassVar[bool] = True

    def __init__(self, k: float = 1.0, center: ArrayLike = 0.0) -> None:
        self.k = positive(k, "k")
        try:
            place = np.array(center, dtype=np.float64)
        except (TypeError, ValueError):
            place = np.array(np.nan)
        if not np.isfinite(place).all():
            raise ValueError(f"center must be a finite number, or an array of them, got {center!r}")
        self.center = float(place) if place.ndim == 0 else place

    def energy(self, x: Floats) -> Floats:
        """Energies, shape (n,), kJ/mol."""
        apart = x - self.center
        energies: Floats = (0.5 * self.k * (apart * apart)).sum(axis=(1, 2))
        return energies

    def gradient(self, x: Floats) -> Floats:
        """k (x - center), the shape of `x`, kJ/(mol nm)."""
        return self.k * (x - self.center)


class FunctionPotential(Potential):
    """A potential of two functions of a user's own, which a store keeps as pickles.

    Parameters
    ----------
    energy_function : callable
        Positions (n, n_atoms, n_dims), nm, to energies (n,), kJ/mol.
    gradient_function : callable
        Positions to dV/dx of the same shape, kJ/(mol nm).
    """

    def __init__(
        self,
        energy_function: Callable[[Floats], Floats],
        gradient_function: Callable[[Floats], Floats],
    ) -> None:
        for name, function in (
            ("energy_function", energy_function),
            ("gradient_function", gradient_function),
        ):
            if not callable(function):
                raise ValueError(f"{name} must be a function of positions, got {function!r}")
        self.energy_function = energy_function
        self.gradient_function = gradient_function

    def energy(self, x: Floats) -> Floats:
        """Energies, shape (n,), kJ/mol."""
        return self.energy_function(x)

    def gradient(self, x: Floats) -> Floats:
        """dV/dx, the shape of `x`, kJ/(mol nm)."""
        return self.gradient_function(x)


class OverdampedLangevinRunner(EnsembleRunner):
    """dx = -beta D grad V dt + sqrt(2 D dt) xi, xi standard normal (Euler-Maruyama).

    Ermak & McCammon, J. Chem. Phys. 69, 1352 (1978), without hydrodynamic
    interactions; the order of the scheme is that of Maruyama (Rend. Circ. Mat.
    Palermo 4, 48, 1955). Units are those of this package, but only their ratios
    matter: with beta = D = 1 all of them are reduced.

    A state has ``positions``, shape (n_atoms, n_dims), nm, and ``time``, shape (), ps.

    Parameters
    ----------
    potential : Potential
    diffusion : float, > 0, nm^2/ps
        The diffusion coefficient D, the same for every coordinate.
    dt : float, > 0, ps
        Length of a step.
    beta : float, > 0, mol/kJ
        1/(k_B T).

    The bits are the same on every machine if the potential's are
    (`Potential.exact`): a step is sums and products, and the normal numbers are
    numpy's, which come from its PCG64 stream. One in some hundred of these takes
    an exponential or a logarithm of the C library, and the stream may change with
    numpy's version; both are facts of the environment.
    """

    def __init__(
        self,
        potential: Any,
        diffusion: float = 1.0,
        dt: float = 1e-3,
        beta: float = 1.0,
    ) -> None:
        if not callable(PotentialCapabilities(potential).gradient):
            raise ValueError(f"potential must have a method gradient(x), got {potential!r}")
        self.potential = potential
        self.diffusion = positive(diffusion, "diffusion")
        self.dt = positive(dt, "dt")
        self.beta = positive(beta, "beta")

    @property
    def step_size(self) -> float:
        """Length of a step, ps."""
        return self.dt

    def initial_state(self, positions: ArrayLike) -> WalkerState:
        """A state at time 0 from positions, shape (n_atoms, n_dims), nm; a number makes (1, 1)."""
        array = np.array(positions, dtype=np.float64)
        return WalkerState(positions=np.atleast_2d(array), time=0.0)

    def move(
        self, positions: Floats, n_steps: int, rng: np.random.Generator, cycle_idx: int | None
    ) -> None:
        """All walkers by `n_steps` steps.

        Raises
        ------
        SegmentError : a position is no longer finite.
        """
        drift = -self.beta * self.diffusion * self.dt
        noise = math.sqrt(2.0 * self.diffusion * self.dt)
        drawn = np.empty(positions.shape)
        # What overflows here is told below, in one line.
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(n_steps):
                pushed = drift * self.potential.gradient(positions)
                rng.standard_normal(out=drawn)
                drawn *= noise
                positions += pushed
                positions += drawn
        if not np.isfinite(positions).all():
            rows = np.isfinite(positions).reshape(len(positions), -1).all(axis=1)
            raise SegmentError(
                cycle_idx=cycle_idx,
                walker_idx=int(np.argmin(rows)),
                worker="this process",
                problem=f"its positions are no longer finite; try a smaller dt than {self.dt:g} ps",
            )

    def reproducible(self, platform: str | None, properties: Properties) -> bool:
        """Whether equal seeds give equal bits: as far as the potential says so."""
        return bool(PotentialCapabilities(self.potential).exact)

    def summary(self) -> dict[str, str]:
        """The potential and the noise."""
        return {
            "potential": type(self.potential).__name__,
            "diffusion": f"{self.diffusion:g} nm^2/ps",
            "beta": f"{self.beta:g} mol/kJ",
            "step": f"{self.dt:g} ps",
        }
