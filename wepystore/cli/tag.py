"""Give snapshots and configurations names that people can remember.

Usage:
  wepy tag [--json] [ORCH]
  wepy tag [--force] NAME HASH
  wepy tag [--force] ORCH NAME HASH
  wepy tag --delete NAME
  wepy tag --delete ORCH NAME

Without NAME: lists the tags as 'NAME HASH'. A tag can stand wherever a hash can.

Options:
  -d --delete  Remove a tag (what it named stays).
  -f --force   Move a tag that names something else.
  --json       Print JSON.
"""

from __future__ import annotations

from typing import Any

from wepystore.cli.common import store_of
from wepystore.cli.console import Console
from wepystore.errors import FailedError
from wepystore.store import Store
from wepystore.store.names import check_tag
from wepystore.store.resolving import resolve


class TagExistsError(FailedError):
    """the tag {name!r} is {md5} already: move it with --force, or take another name"""


class NoSuchTagError(FailedError):
    """{path} has no tag {name!r}{hint}"""


def main(args: dict[str, Any], console: Console) -> int:
    """List, set or remove."""
    store = store_of(args, "NAME", "HASH")
    name = args["NAME"]
    if name is None:
        tags = store.tags()
        if args["--json"]:
            console.json(tags)
        else:
            for tag, md5 in tags.items():
                console.out(f"{tag} {md5}")
    elif args["--delete"]:
        _delete(store, name)
    else:
        _set(store, name, args["HASH"], args["--force"])
    return 0


def _set(store: Store, name: str, text: str, force: bool) -> None:
    check_tag(name)
    _, md5 = resolve(store, text)
    old = store.ref("tags/" + name) if not force else None
    if old is not None and old != md5:
        raise TagExistsError(name=name, md5=old)
    store.set_ref("tags/" + name, md5)


def _delete(store: Store, name: str) -> None:
    check_tag(name)
    if name not in store.tag_names():
        from wepystore.cli.usage import suggestion

        hint = suggestion(name, store.tag_names())
        raise NoSuchTagError(path=store.path, name=name, hint=hint)
    store.del_ref("tags/" + name)
