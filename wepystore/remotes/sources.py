"""The sources of a reconcile or a repair, wherever they are, and the reconcile.

Only what the target lacks crosses: a source that is elsewhere is listed first, then those manifests
and run records are fetched that the target has not, or not in that size, then just the objects that
the plan names. Everything is verified when it gets its name, as from a local source.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path

from wepystore.remotes.address import Address, parse
from wepystore.remotes.elsewhere import Elsewhere, Transport
from wepystore.remotes.errors import BrokenOffError, NotAStoreThereError
from wepystore.remotes.staging import Staging
from wepystore.store import Store, merge, whereabouts
from wepystore.store.merge import Outcome, Plan, Source
from wepystore.store.merge.source import Progress
from wepystore.store.places import root_of

# Files of this machine that are sources, by the kind of their address: MODULE:NAME, imported when
# one is met, of a class that is called with the path and a function that gives a folder for files.
READERS = {"sqlite": "wepystore.compat.wepy.database:Database"}
# What comes goes on where it was after these. Any other end is one that the same files would lead
# to again.
_CUT_OFF = (BrokenOffError, OSError, KeyboardInterrupt)
#: Shows how far it is: called with what is done and the plan, gives what to tell the bytes.
Bar = Callable[[str, Plan], AbstractContextManager[Progress | None]]


@contextmanager
def sources(
    target: Store | str | os.PathLike[str],
    addresses: Sequence[str],
    *,
    shell: str | None = None,
    dry: bool = False,
) -> Iterator[list[Source]]:
    """One source for each address, in that order. With `dry`, nothing at all is written to the
    target; else one that is not there is made as soon as all sources have been reached and one of
    them is elsewhere. A Store is taken for one as it is.

    Raises what Store.open raises for target and local sources, and MalformedAddressError,
    UnreachableError, NotAStoreThereError, NotInstalledError, DatabaseError, BrokenOffError.
    """
    parsed = [parse(address) for address in addresses]
    path = target.path if isinstance(target, Store) else Path(target)
    creates = not isinstance(target, Store) and Store.can_create(path)
    if not isinstance(target, Store) and not creates:
        Store.open(path)
    with ExitStack() as stack:

        def folder(name: str) -> Path:
            """Where to put what comes from an address: beside its place in the target."""
            if dry:
                scratch = tempfile.TemporaryDirectory(prefix="wepystore-")
                return Path(stack.enter_context(scratch))
            if creates:
                Store.ensure(path)
            staging = Staging(path / "tmp", name)
            stack.push(lambda _, error, __: staging.close(keep=isinstance(error, _CUT_OFF)))
            return staging.path

        reached = [_reach(address, shell, folder, path, stack) for address in parsed]
        yield [come() for come in reached]


def transport(address: Address, shell: str | None) -> Transport | None:
    """The way to an address of kind "ssh" or "url"; None for one of this machine."""
    if address.kind == "ssh":
        from wepystore.remotes.ssh import SSH

        return SSH(address, shell)
    if address.kind == "url":
        from wepystore.remotes.url import URL

        return URL(address)
    return None


def _reach(
    address: Address,
    shell: str | None,
    folder: Callable[[str], Path],
    target: Path,
    stack: ExitStack,
) -> Callable[[], Source]:
    """See who is there. What is returned gives the source, once all have been reached."""
    way = transport(address, shell)
    if way is not None:
        found = way.listing()
        if not found.is_store:
            raise NotAStoreThereError(address=address.text, why=found.fault())
        return lambda: Elsewhere(way, found, folder(address.text), target)
    if address.kind in READERS:
        module, _, name = READERS[address.kind].partition(":")
        into = partial(folder, os.path.abspath(address.path))
        source = getattr(import_module(module), name)(address.path, into)
        stack.callback(source.close)
    else:
        source = Store.open(root_of(address.path))
    return lambda: source


def plan_reconcile(
    target: str | os.PathLike[str],
    addresses: Sequence[str],
    shell: str | None = None,
    frames: bool = True,
) -> Plan:
    """What `reconcile` would bring; nothing is written. Raises as sources."""
    target = root_of(target)
    with sources(target, addresses, shell=shell, dry=True) as found:
        return merge.plan(target, found, frames=frames)


def reconcile(
    target: str | os.PathLike[str],
    addresses: Sequence[str],
    shell: str | None = None,
    bar: Bar = lambda what, plan: nullcontext(),
    frames: bool = True,
) -> Outcome:
    """Bring what the sources have, and the target lacks, into it; `frames` as of merge.plan. The
    target remembers where it saw frames. Raises as sources."""
    target = root_of(target)
    with sources(target, addresses, shell=shell) as found:
        # Manifests come near: into TARGET/tmp/.
        plan = merge.plan(target, found, frames=frames)
        with bar("fetching", plan) as update:
            merge.fetch(plan, update)  # Objects too.
        with bar("verifying", plan) as update:
            outcome = merge.apply(plan, update)
        for address, source in zip(addresses, found, strict=True):
            _remember(Store.open(target), address, source, outcome)
        return outcome


def _remember(target: Store, address: str, source: Source, outcome: Outcome) -> None:
    """Where frames are, or were got, of those that the target's recordings name."""
    if isinstance(source, Store):
        place: str | None = os.path.realpath(source.path)
    else:
        place = whereabouts.without_credentials(address)
    known = {*outcome.frames_kept_at(source), *target.hashes("frames")}
    whereabouts.note(target, place, known.intersection(source.hashes("frames")))
