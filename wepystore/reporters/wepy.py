"""Where pickles look for `WepyReporter` (docs/design/0032-names-that-stay.md)."""

from wepystore.engine.adapt import moved

__getattr__ = moved(__name__)
