"""What a report cannot be made of."""

from __future__ import annotations

from wepystore.errors import FailedError


class NothingRecordedError(FailedError):
    """there is nothing to report: {why}"""


class NothingToShowError(FailedError):
    """{why}"""


class PlayerMissingError(FailedError):
    """figures as {endings} need vl-convert-python: pip install 'wepystore[report]'; the HTML file
    needs nothing"""
