"""wepystore: weighted ensemble simulations run from a content-addressed store.

Importing the package costs nothing: numpy, OpenMM and the rest are imported
by the rooms that need them (see docs/architecture.md).
"""

from wepystore._version import __version__

__all__ = ["__version__"]
