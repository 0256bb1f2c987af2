"""``python -m wepystore``: the same program as ``wepy``."""

import os
import sys

# As with `wepy`: nothing is imported from the current directory, which may be anybody's data.
# What Python has imported up to here is its own affair: `python -P -m wepystore`.
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from wepystore.cli.main import entry_point

entry_point()
