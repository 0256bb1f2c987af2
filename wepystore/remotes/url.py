"""Stores behind a URL that fsspec understands: s3://, sftp://, file:// and many more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from wepystore.remotes.address import Address
from wepystore.remotes.elsewhere import Inventory, inventory_of, no_store
from wepystore.remotes.errors import (
    BrokenOffError,
    CannotWriteThereError,
    NotInstalledError,
    UnreachableError,
)
from wepystore.store import Store
from wepystore.store.merge.source import Progress
from wepystore.store.names import KINDS, MARK
from wepystore.store.places import INSIDE
from wepystore.store.store import DIRECTORIES

# Where a name either stands for a whole file or for none, and there are no directories. Anywhere
# else a file is written under tmp/ and renamed.
_OBJECT_STORES = frozenset(("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "memory"))
# So many requests at a time where fsspec can do several.
_AT_ONCE = 16


class URL:
    """A Transport through fsspec."""

    def __init__(self, address: Address) -> None:
        self.address = address.text
        self._protocol = address.text.partition("://")[0].lower()
        self._has_directories = self._protocol not in _OBJECT_STORES
        self._root = ""
        self._open: Any = None
        self._made: set[str] = set()

    @property
    def _fs(self) -> Any:
        if self._open is None:
            self._open, root = self._connect()
            self._root = root.rstrip("/")
        return self._open

    def _connect(self) -> tuple[Any, str]:
        try:
            import fsspec

            if self._protocol in ("sftp", "ssh"):
                return _sftp(self.address)
            fs, root = fsspec.core.url_to_fs(self.address, skip_instance_cache=True)
        except ImportError as error:
            raise NotInstalledError(
                address=self.address,
                what=error.name or _line(error),
                hint="pip install 'wepystore[remote]'",
            ) from None
        except Exception as error:
            raise UnreachableError(address=self.address, why=_line(error)) from None
        return fs, root

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def listing(self) -> Inventory:
        fs = self._fs
        # What third-party file systems raise has no common base class.
        try:
            if not fs.exists(self._at(MARK)):
                found = self._no_store(fs)
                if not found.exists:
                    return found
                inside = (name for name in INSIDE if fs.exists(self._at(f"{name}/{MARK}")))
                name = next(inside, None)
                if name is not None:
                    self._root = self._at(name)
                elif not fs.exists(self._at(MARK)):
                    return found
            # `exists` is False for whatever went wrong; this says what it was.
            fs.info(self._at(MARK))
            return inventory_of([(MARK, 0), *self._files(fs)])
        except Exception as error:
            raise UnreachableError(address=self.address, why=_line(error)) from None

    def _no_store(self, fs: Any) -> Inventory:
        try:
            names = [entry["name"].rstrip("/") for entry in fs.ls(self._root, detail=True)]
        except FileNotFoundError:
            return Inventory(False, exists=False)
        names = [name.rpartition("/")[2] for name in names if name != self._root]
        return no_store([*names, *(path for path, _ in self._files(fs))])

    def _files(self, fs: Any) -> Iterator[tuple[str, int]]:
        cut = len(self._root) + 1
        for kind in (*KINDS, "refs"):
            if self._has_directories:
                found = list(_walk(fs, self._at(kind), 2))
            else:
                found = list(fs.find(self._at(kind), detail=True).values())
            for entry in found:
                yield entry["name"][cut:], int(entry.get("size") or 0)

    def fetch(
        self, paths: Sequence[str], into: Path, progress: Progress | None = None, total: int = 0
    ) -> dict[str, str]:
        fs = self._fs
        problems: dict[str, str] = {}

        def get(path: str) -> int:
            file = into / path
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_name(f".{file.name}.part")
            try:
                fs.get_file(self._at(path), str(part))
            except FileNotFoundError:
                part.unlink(missing_ok=True)
                return 0
            except PermissionError as error:
                part.unlink(missing_ok=True)
                problems[path] = _line(error)
                return 0
            os.replace(part, file)
            return file.stat().st_size

        self._each(get, paths, "from", progress, total)
        return problems

    def create(self) -> None:
        try:
            if self._has_directories:
                for name in (*DIRECTORIES, "refs/tags"):
                    self._make(self._at(name))
            import tempfile

            with tempfile.TemporaryDirectory(prefix="wepystore-") as scratch:
                self._put(str(Store.create(Path(scratch) / "empty").path / MARK), MARK)
        except Exception as error:
            raise CannotWriteThereError(address=self.address, why=_line(error)) from None

    def send(
        self, paths: Sequence[str], root: Path, progress: Progress | None = None, total: int = 0
    ) -> None:
        def put(path: str) -> int:
            file = root / path
            if not self._fs.exists(self._at(path)):
                self._put(str(file), path)
            return file.stat().st_size

        self._each(put, paths, "to", progress, total)

    def _put(self, file: str, path: str) -> None:
        fs = self._fs
        final = self._at(path)
        if not self._has_directories:
            fs.put_file(file, final)
            return
        for directory in {final.rpartition("/")[0], self._at("tmp")} - self._made:
            self._make(directory)
            self._made.add(directory)
        unfinished = self._at(f"tmp/push-{os.getpid()}-{os.urandom(8).hex()}")
        try:
            fs.put_file(file, unfinished)
            fs.mv(unfinished, final)
        except BaseException as error:
            if fs.exists(unfinished):
                fs.rm_file(unfinished)
            # Where a rename does not replace: somebody else has just put it there.
            if not isinstance(error, Exception) or not fs.exists(final):
                raise

    def _make(self, directory: str) -> None:
        try:
            self._fs.makedirs(directory, exist_ok=True)
        except Exception:
            # What file systems raise if somebody else is faster with one of its parents.
            if not self._fs.isdir(directory):
                self._fs.makedirs(directory, exist_ok=True)

    def _each(
        self,
        move: Callable[[str], int],
        paths: Sequence[str],
        way: str,
        progress: Progress | None,
        total: int,
    ) -> None:
        done = 0
        try:
            for size in self._map(move, paths):
                done += size
                if progress is not None:
                    progress(min(done, total), total)
        except Exception as error:
            why = _line(error)
            raise BrokenOffError(way=way, address=self.address, why=why) from None

    def _map(self, move: Callable[[str], int], paths: Sequence[str]) -> Iterator[int]:
        if not self._fs.async_impl:
            yield from map(move, paths)
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                yield from pool.map(move, paths)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _walk(fs: Any, directory: str, depth: int) -> Iterator[dict[str, Any]]:
    """The files in a directory, at most so deep. Unlike fsspec's own it does not pass over a
    directory that cannot be read: an entry might be in it."""
    try:
        entries = fs.ls(directory, detail=True)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry["type"] != "directory":
            yield entry
        elif depth > 1:
            yield from _walk(fs, entry["name"].rstrip("/"), depth - 1)


def _sftp(url: str) -> tuple[Any, str]:
    """fsspec's own accepts any host key; this one goes by ~/.ssh/known_hosts, as ssh does."""
    import paramiko
    from fsspec.implementations.sftp import SFTPFileSystem

    class SFTP(SFTPFileSystem):  # type: ignore[misc]
        cachable = False

        def _connect(self) -> None:
            self.client = paramiko.SSHClient()
            self.client.load_system_host_keys()
            self.client.connect(self.host, **self.ssh_kwargs)
            self.ftp = self.client.open_sftp()

    return SFTP(**SFTP._get_kwargs_from_urls(url)), SFTP._strip_protocol(url)


def _line(error: Exception) -> str:
    """What an exception of some library says, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return text if len(text) <= 300 else text[:299] + "…"
