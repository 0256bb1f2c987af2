"""Every error a user can meet: one base class per exit status.

The docstring of a concrete class is its message, filled with the keyword
arguments it is raised with. Exactly one place (cli.main) turns a class into
an exit status; nothing below it prints or exits. What a message tells people to
do next is a name in braces that begins with "to_", and is looked up in WAYS.
"""

from __future__ import annotations

# Not from typing, which `wepy --help` need not wait for.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

#: Ways out, by name: what people type. This is all that is known of the command line below cli/,
#: and another face may put its own words in their place.
WAYS = {
    "to_attach": "wepy add trajectories",
    "to_bring": "wepy reconcile orch {store} {source}",
    "to_choose_platform": "--platform",
    "to_choose_scheduler": "wepy run --scheduler",
    "to_clean": "wepy gc",
    "to_convert": "wepy convert",
    "to_count_cycles": "--n-cycles",
    "to_create": "wepy create orch {path}",
    "to_export": "wepy get",
    "to_fetch_start": "wepy reconcile orch {store} ORCH",
    "to_heal": "wepy fsck --repair --from OTHER",
    "to_inspect": "wepy show --pickles {how}",
    "to_list": "wepy ls {kind} {path}",
    "to_list_configs": "wepy ls configs {store}",
    "to_merge": "wepy reconcile orch",
    "to_name_config": "--configuration",
    "to_name_job_dir": "--job-dir",
    "to_resume": "wepy resume {job_dir}",
    "to_run": "wepy run",
    "to_run_again": "wepy run orch {store} HASH …",
    "to_run_default": "wepy run orch {store} default …",
    "to_run_on": "wepy run orch {store} {end} SECONDS STEPS",
    "to_set_a_default": "wepy default",
    "to_set_default": "wepy default {kind} {what}",
    "to_trust": "wepy trust {how}",
}


def way_out(name: str, **fields: Any) -> str:
    """A way out as a text, for a message that is put together elsewhere."""
    return WAYS[name].format_map(fields)


class _Words(dict[str, "Any"]):
    """The fields of a message, and with them the ways out."""

    def __missing__(self, name: str) -> str:
        return way_out(name, **self)


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
        return template.format_map(_Words(self.fields))

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


class UntrustedError(WepystoreError):
    """{message}"""

    exit_status = 5


class StoppedError(WepystoreError):
    """{message}"""

    exit_status = 75


class BuildWarning(UserWarning):
    """What is built can run, and is seldom meant."""
