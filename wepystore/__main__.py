"""``python -m wepystore``: the same program as ``wepy``."""

from wepystore.cli.main import entry_point

entry_point()
