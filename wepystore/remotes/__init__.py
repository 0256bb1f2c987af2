"""Stores that are elsewhere: on another host, in a bucket, in a file that other programs write.

`sources` opens what is brought from, `destination` what is sent to. Both only find out what is
where and move bytes; what is wanted and what is sound is decided by wepystore.store.merge, which
`reconcile` asks.
"""

from wepystore.remotes.destination import destination
from wepystore.remotes.sources import plan_reconcile, reconcile, sources

__all__ = ["destination", "plan_reconcile", "reconcile", "sources"]
