"""Bytes, names and durability: a directory that md5sum can check and rsync can copy.

Standard library only; knows nothing of simulations, and never imports pickle (S9).
"""

from wepystore.store.names import KINDS, EntryRef, Ref, references
from wepystore.store.store import Store

__all__ = ["KINDS", "EntryRef", "Ref", "Store", "references"]
