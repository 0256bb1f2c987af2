r"""One self-contained file for one snapshot or configuration (I2).

The file is two things at once. To `unzip` it is a ZIP archive of the entry and all objects it
names; to `dill.load` it is a pickle that calls `wepystore.records.bundle.load` with the archive:

    \x80\x04 c wepystore.records.bundle\nload\n  \x8e <length, 8 bytes LE>  <ZIP archive>  \x85 R .

The last three opcodes are the ZIP archive's comment, and its offsets count from the start of the
file. This module reads and writes it as bytes: nothing is ever unpickled here (S9). Members are
stored, not compressed, with a fixed date and in a fixed order: one entry, one file, to the byte.
"""

from __future__ import annotations

import errno
import io
import os
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from wepystore import durable
from wepystore.store import canonical, carriers, files, formats
from wepystore.store.errors import (
    DamagedEntryError,
    DamagedExportError,
    NotAFileError,
    NotAnExportError,
    WrongKindError,
)
from wepystore.store.manifests import Manifest
from wepystore.store.names import MARK, ONE, Name, Ref, is_hash, md5_of, path_of, references

if TYPE_CHECKING:
    from wepystore.store.store import Store

#: (kind, md5, {(kind, md5): bytes}): of the entry in a file, and of that and all that it names.
Export = tuple[str, str, dict[Name, bytes]]

FORMAT = 1
KINDS = ("snapshots", "configs")
HEAD = b"\x80\x04cwepystore.records.bundle\nload\n\x8e"
TAIL = b"\x85R."

_LENGTH = struct.Struct("<Q")
_DATE = (1980, 1, 1, 0, 0, 0)
# A ZIP archive ends with this record of 22 bytes and the comment it announces.
_END = b"PK\x05\x06"
_END_SIZE = 22 + len(TAIL)
# What comes before a member, without its name.
_LOCAL_SIZE = 30
_ENCRYPTED = 1


def write(
    store: Store, kind: str, md5: str, file: str | os.PathLike[str], replace: bool = True
) -> None:
    """Write an entry and all it names to a file, whole or not at all; the same bytes every time.

    Raises MissingError, DamagedError, IncompleteError, FileExistsError unless it may replace, and
    NotAFileError where there is something that is no file.
    """
    if kind not in KINDS:
        raise ValueError(f"a {kind!r} cannot be put in one file")
    found = store.read_manifest(kind, md5)
    missing = store.lacking(found.parts())
    if missing:
        raise carriers.incomplete(store.path, kind, md5, missing)
    write_manifest(found, file, replace)


def write_manifest(found: Manifest, file: str | os.PathLike[str], replace: bool = True) -> None:
    """As `write`, of an entry that was read; whatever it fetches is taken as it is."""
    path = Path(file)
    if os.path.exists(path) and not os.path.isfile(path):
        # To give a file the name of a device takes the device away: /dev/null, if root does it.
        raise NotAFileError(path=path)
    if not replace and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    part = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    with durable.naming(path):
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with os.fdopen(descriptor, "w+b") as stream:
                if formats.stands_for(found.value) is not None:
                    # It is as the other program exports it, and goes out as it came in (I3).
                    stream.write(found.data)
                else:
                    _write(stream, found)
                stream.flush()
                os.fsync(stream.fileno())
            durable.move(part, path, replace)
        finally:
            part.unlink(missing_ok=True)
    try:
        durable.sync_directory(path.parent)
    except OSError as error:
        # Whole, but perhaps gone after a crash: what is said to have failed is not to be there.
        if not replace:
            path.unlink(missing_ok=True)
        error.filename = str(path)
        raise


def archive(found: Manifest) -> bytes:
    """What the file of an entry hands to `load`: as `unpack` takes it."""
    stream = io.BytesIO()
    _write(stream, found)
    return stream.getvalue()[len(HEAD) + _LENGTH.size : -len(TAIL)]


def _write(stream: BinaryIO, found: Manifest) -> None:
    """The whole file: the mark, the manifest, the objects in the order of their names."""
    kind, md5 = found.kind, found.ref.md5
    head = canonical.dumps({"format": FORMAT, "kind": kind, "md5": md5})
    parts = sorted((path_of(part, ref.md5), ref) for part, ref in found.parts())
    stream.write(HEAD + _LENGTH.pack(0))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as members:
        for name, ref in [(MARK, None), (path_of(kind, md5), None), *parts]:
            data = found.fetch(ref) if ref else head if name == MARK else found.data
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            members.writestr(info, data)
        members.comment = TAIL
    size = stream.seek(0, os.SEEK_END)
    stream.seek(len(HEAD))
    stream.write(_LENGTH.pack(size - len(HEAD) - _LENGTH.size - len(TAIL)))


def read(file: str | os.PathLike[str], kind: str | None = None) -> Export:
    """What is in a file, every byte of it verified.

    Raises NotAnExportError (something else, empty, truncated), DamagedExportError, and
    WrongKindError when `kind` is given and it is the other one.
    """
    path = str(file)
    try:
        descriptor = files.open_plain(file)
    except DamagedEntryError:
        raise NotAnExportError(path=path, why="it is not a file") from None
    with open(descriptor, "rb") as stream:
        size = os.fstat(descriptor).st_size
        # Of a file of any size nothing more is read unless it begins as one of them.
        head = stream.read(len(HEAD) + _LENGTH.size)
        if not head.startswith(formats.HEADS):
            _check_size(head, path, size)
        elif size > files.MAX_MANIFEST:
            raise NotAnExportError(path=path, why=f"it has {size} bytes, far too many")
        data = head + stream.read()
    other = formats.format_of(data)
    if other is not None:
        return _whole(data, path, kind, other)
    # The pickle around the archive is ours to the byte, and all of it is there.
    _check_size(head, path, len(data))
    if not data.endswith(TAIL):
        raise DamagedExportError(path=path, why="its last bytes are wrong")
    return unpack(data, path, kind, len(head))


def unpack(data: bytes, path: str, kind: str | None = None, start: int = 0) -> Export:
    """What `read` gives, from the archive; `start` is how many bytes `data` has before it.

    With start = 0, data is what a pickle machine hands to `load`: the archive without its head
    and without the comment, both of which it has consumed.
    """
    if start == 0:
        data = HEAD + _LENGTH.pack(len(data)) + data + TAIL
    members = _read_zip(data, path)
    head = canonical.load_object(_take(members, MARK, path), f"{path}: {MARK}")
    found, md5 = head.get("kind"), head.get("md5")
    if head.get("format") != FORMAT:
        why = f"it has format {head.get('format')!r}, this program reads {FORMAT}: upgrade it"
        raise NotAnExportError(path=path, why=why)
    if (
        not isinstance(found, str)
        or found not in KINDS
        or not isinstance(md5, str)
        or not is_hash(md5)
    ):
        raise DamagedExportError(path=path, why=f"{MARK} in it does not name an entry")
    if kind is not None and found != kind:
        raise WrongKindError(text=path, found=ONE[found], expected=ONE[kind])
    own = _take(members, path_of(found, md5), path)
    if md5_of(own) != md5:
        raise DamagedExportError(path=path, why=f"the {ONE[found]} in it is not {md5}")
    what = f"{path}: {path_of(found, md5)}"
    entries = {(found, md5): own}
    for part, ref in references(canonical.load_object(own, what), what):
        content = _take(members, path_of(part, ref.md5), path)
        if Ref.of(content) != ref:
            raise DamagedExportError(path=path, why=f"{part}/{ref.md5} in it has wrong bytes")
        entries[part, ref.md5] = content
    if members:
        raise DamagedExportError(path=path, why=f"it holds {min(members)!r}, which nothing names")
    return found, md5, entries


def _whole(data: bytes, path: str, kind: str | None, other: formats.Format) -> Export:
    """The one entry of a file that another program exported; its bytes are the entry (I3)."""
    why = other.fault(data)
    if why is not None:
        raise NotAnExportError(path=path, why=f"it looks like one of {other.TYPE}, and {why}")
    found = other.kind_of(data) or kind
    if found is None:
        why = f"it is a pickle of {other.TYPE}, neither of a snapshot nor of a configuration"
        raise NotAnExportError(path=path, why=why)
    if kind is not None and found != kind:
        raise WrongKindError(text=path, found=ONE[found], expected=ONE[kind])
    md5 = md5_of(data)
    return found, md5, {(found, md5): data}


def _check_size(head: bytes, path: str, size: int) -> None:
    """The first bytes are ours, and there are as many behind them as they say."""
    if not head:
        raise NotAnExportError(path=path, why="it is empty")
    if not head.startswith(HEAD[: len(head)]):
        raise NotAnExportError(path=path, why=_guess(head))
    start = len(HEAD) + _LENGTH.size
    if size < start + _END_SIZE:
        raise NotAnExportError(path=path, why=f"it is truncated after {size} bytes")
    (length,) = _LENGTH.unpack_from(head, len(HEAD))
    expected = start + length + len(TAIL)
    if size < expected:
        why = f"it is truncated: it has {size} bytes of {expected}"
        raise NotAnExportError(path=path, why=why)
    if size > expected:
        why = f"{size - expected} bytes follow its end"
        raise DamagedExportError(path=path, why=why)


def _guess(data: bytes) -> str:
    if data.startswith((b"eJ", b"eN")):
        return "it looks like one of wepy 1.x, cut or changed"
    if data.startswith(b"\x80"):
        return "it is some other pickle, and is not opened"
    if data.startswith(b"SQLite format 3"):
        return "it is an SQLite database"
    if data.startswith(b"\x89HDF"):
        return "it is an HDF5 file"
    if data.startswith(b"PK"):
        return "it is an ordinary ZIP archive"
    return "it begins with other bytes"


def _read_zip(data: bytes, path: str) -> dict[str, bytes]:
    try:
        if not data[-_END_SIZE:].startswith(_END):
            raise zipfile.BadZipFile("its directory is not at its end")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_layout(infos, archive.start_dir)
            return {info.filename: archive.read(info) for info in infos}
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        OSError,
        struct.error,
        OverflowError,
    ) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise DamagedExportError(path=path, why=why) from None


def _check_layout(infos: Sequence[zipfile.ZipInfo], end: int) -> None:
    """Before anything is read: the members are stored, each has a name of its own, and they lie one
    behind the other, so that together they are no larger than the file."""
    names: set[str] = set()
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise zipfile.BadZipFile(f"{info.filename[:80]!r} is compressed")
        if info.flag_bits & _ENCRYPTED:
            raise zipfile.BadZipFile(f"{info.filename[:80]!r} is encrypted")
        if info.filename in names:
            raise zipfile.BadZipFile(f"{info.filename[:80]!r} occurs twice")
        names.add(info.filename)
    for info in sorted(infos, key=lambda info: info.header_offset, reverse=True):
        least = _LOCAL_SIZE + len(info.orig_filename.encode()) + info.file_size
        if info.header_offset < 0 or info.header_offset + least > end:
            raise zipfile.BadZipFile(f"{info.filename[:80]!r} overlaps with what comes after it")
        end = info.header_offset


def _take(members: dict[str, bytes], name: str, path: str) -> bytes:
    try:
        return members.pop(name)
    except KeyError:
        raise DamagedExportError(path=path, why=f"{name} is not in it") from None


def add(store: Store, file: str | os.PathLike[str], kind: str | None = None) -> str:
    """Put the entry in a file into a store and return its hash. Raises as read."""
    _found, md5, entries = read(file, kind)
    with store.batch() as batch:
        for (part, _), content in entries.items():
            batch.put(part, content)
    return md5
