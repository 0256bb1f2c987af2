"""Bringing stores together: what is missing where, bringing it, and how two entries differ.

made = merge.plan(target, sources)      nothing is written
merge.fetch(made)                       files that are elsewhere come near
outcome = merge.apply(made)             they are verified and get their names
"""

from wepystore.store.merge.applying import Outcome, apply, fetch
from wepystore.store.merge.planning import plan
from wepystore.store.merge.plans import Plan
from wepystore.store.merge.source import Source

__all__ = ["Outcome", "Plan", "Source", "apply", "fetch", "plan"]
