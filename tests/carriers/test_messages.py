"""What is said of content that is not here, without any of the programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.carriers.conftest import World
from tests.cli.conftest import Wepy
from wepystore.errors import DamagedError
from wepystore.store import Store, carriers
from wepystore.store.errors import DamagedEntryError, ElsewhereError, MissingError

ANNEX = "../../../.git/annex/objects/zQ/MQ/MD5-s3--98ea/MD5-s3--98ea"
DVC = "/data/.dvc/cache/files/md5/98/ea6e4f216f2fb4b69fff9b3a44842c"


@pytest.mark.parametrize(
    ("target", "carrier"),
    [
        (ANNEX, "git-annex"),
        (".git/annex/objects/zQ/MQ/key/key", "git-annex"),
        (DVC, "DVC"),
        ("/scratch/shared-cache/files/md5/98/ea6e", "DVC"),
        ("/etc/passwd", None),
        ("../annexobjects", None),
    ],
)
def test_keeper_of_a_link(target: str, carrier: str | None) -> None:
    """Only links of the programs we know are taken for such."""
    assert carriers.carrier_of_link(target) == carrier


def test_keeper_of_a_file(tmp_path: Path) -> None:
    """A link is kept elsewhere only while it dangles; a file only if git-annex wrote it."""
    link, plain, pointer = tmp_path / "link", tmp_path / "plain", tmp_path / "pointer"
    (tmp_path / ".git/annex/objects").mkdir(parents=True)
    link.symlink_to(".git/annex/objects/key")
    assert carriers.carrier_of(link) == "git-annex"
    (tmp_path / ".git/annex/objects/key").write_text("here")
    assert carriers.carrier_of(link) is None
    plain.write_text("not /annex/objects/")
    assert carriers.carrier_of(plain) is None
    pointer.write_text("/annex/objects/MD5-s3--98ea\n")
    assert carriers.carrier_of(pointer) == "git-annex"
    for other in ("nothing", "plain/nothing", "."):
        assert carriers.carrier_of(tmp_path / other) is None


def test_names_are_quoted_and_many_are_shortened() -> None:
    """What is shown can be pasted into a shell, and stays readable."""
    assert carriers.command("git-annex", ["my data/a"]) == "git annex get 'my data/a'"
    assert carriers.command("DVC", ["a", "b"]) == "dvc pull"


def test_the_way_of_many(world: World) -> None:
    """More than some files are named by the directory of their kind."""
    store = world.store
    md5s = [f"{number:032x}" for number in range(40)]
    for md5 in md5s:
        store.file("objects", md5).parent.mkdir(exist_ok=True)
        store.file("objects", md5).symlink_to(ANNEX)
    way = carriers.way([store.file("objects", md5) for md5 in md5s])
    assert way == f"bring the rest with 'git annex get {store.path}/objects'"
    assert carriers.way([store.path / "nothing"]).endswith("'wepy reconcile orch'")


def test_a_damaged_file_is_no_pointer(world: World) -> None:
    """What only looks damaged is called so; what git-annex left is not."""
    file = world.store.file("snapshots", world.start)
    file.write_bytes(b"something else")
    with pytest.raises(DamagedEntryError):
        world.store.read("snapshots", world.start)
    file.write_bytes(b"/annex/objects/MD5-s3--98ea\n")
    with pytest.raises(ElsewhereError) as raised:
        world.store.read("snapshots", world.start)
    assert isinstance(raised.value, MissingError)
    assert f"'git annex get {file}' brings it" in str(raised.value)


@pytest.mark.parametrize("form", ["link", "pointer"])
@pytest.mark.parametrize("name", ["wepystore.json", "refs/default-snapshot", "refs/tags/bound"])
def test_what_makes_a_store_may_be_absent_too(
    world: World, wepy: Wepy, name: str, form: str
) -> None:
    """No command takes an absent mark for no store, nor an absent ref for one that is not set."""
    file = world.store.path / name
    file.unlink()
    if form == "link":
        file.symlink_to(ANNEX)
    else:
        file.write_bytes(b"/annex/objects/MD5-s3--98ea\n")
    said = f"git annex get {file}"
    if name == "wepystore.json":
        with pytest.raises(DamagedError, match="git annex get"):
            Store.open(world.store.path)
        result = wepy("ls snapshots", world.store.path)
        assert result.status == 3 and said in result.err
    else:
        text = "bound" if "tags" in name else "default"
        result = wepy("show", world.store.path, text)
        assert result.status == 3 and said in result.err
        assert wepy("ls snapshots --long", world.store.path).status == 0
    fsck = wepy("fsck", world.store.path)
    assert fsck.status == 3 and said in fsck.out
    # It is not for us to decide what it held: nothing but its owner sets it.
    other = Store.create(world.store.path.parent / "other.orch")
    assert wepy("reconcile orch", other.path, world.store.path).status in (0, 3)
    assert os.path.lexists(file)
