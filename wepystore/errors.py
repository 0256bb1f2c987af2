"""Every error a user can meet: one base class per exit status.

The docstring of a concrete class is its message, filled with the keyword
arguments it is raised with. Exactly one place (cli.main) turns a class into
an exit status; nothing below it prints or exits.
"""

from __future__ import annotations

# Not from typing, which `wepy --help` need not wait for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class WepystoreError(Exception):
    """{message}"""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str | None = None, /, **fields: Any) -> None:
        if message is not None:
            fields.setdefault("message", message)
        self.fields = fields
        super().__init__(message)

    def __str__(self) -> str:
        # Templates may be wrapped over lines in the source; a message is one line.
        template = " ".join((type(self).__doc__ or "{message}").split())
        return template.format_map(self.fields)

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders (mapper workers); keyword fields must survive that.
        return (_rebuild, (type(self), self.fields))


def _rebuild(cls: type[WepystoreError], fields: dict[str, Any]) -> WepystoreError:
    return cls(**fields)


class FailedError(WepystoreError):
    """{message}"""

    exit_status = 1


class UsageError(WepystoreError):
    """{message}"""

    exit_status = 2


class DamagedError(WepystoreError):
    """{message}"""

    exit_status = 3


class ConflictError(WepystoreError):
    """{message}"""

    exit_status = 4


class UntrustedError(WepystoreError):
    """{message}"""

    exit_status = 5


class StoppedError(WepystoreError):
    """{message}"""

    exit_status = 75


class BuildWarning(UserWarning):
    """What is built can run, and is seldom meant."""
