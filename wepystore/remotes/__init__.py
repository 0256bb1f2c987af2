"""Stores that are elsewhere: on another host, in a bucket, in a database of wepy 1.x.

`Incoming` brings what they have, `Outgoing` the other way. Both only find out what is where and
move bytes; what is wanted and what is sound is decided by wepystore.store.merge.reconcile.
"""

from wepystore.remotes.incoming import Incoming
from wepystore.remotes.outgoing import Outgoing

__all__ = ["Incoming", "Outgoing"]
