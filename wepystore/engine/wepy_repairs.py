"""Where pickles look for `prepare_wepy` (docs/design/0032-names-that-stay.md)."""

from wepystore.engine.adapt import moved

__getattr__ = moved(__name__)
