"""Names: references in manifests, hashes, tags that become file names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wepystore.store import EntryRef, Ref, references
from wepystore.store.errors import BadJSONError, MalformedTagError
from wepystore.store.names import check_tag

REF = Ref("0" * 32, "1" * 64, 7)


def test_references_are_found_wherever_they_are() -> None:
    """An object with just md5, sha256 and size names an object; with kind, an entry; once each."""
    other = Ref("2" * 32, "3" * 64, 0)
    manifest = {
        "b": [{"deep": REF.to_json()}, REF.to_json(), 1, "x", None],
        "a": EntryRef("configs", other).to_json(),
        "not": {"md5": "x"},
    }
    assert list(references(manifest)) == [("configs", other), ("objects", REF)]


@pytest.mark.parametrize(
    "change",
    [
        {"md5": "X" * 32},
        {"md5": 1},
        {"md5": "../../../../../../etc/passwd"},
        {"sha256": "1" * 63},
        {"size": -1},
        {"size": True},
        {"size": "7"},
        {"kind": "refs"},
    ],
)
def test_malformed_references_are_damage(change: dict[str, object]) -> None:
    """A reference that is none (and could be a path out of the store) is refused (S10)."""
    with pytest.raises(BadJSONError, match="FILE"):
        list(references({"a": {**REF.to_json(), **change}}, "FILE"))


def test_refs_survive_json() -> None:
    """from_json(to_json(x)) is x."""
    assert Ref.from_json(REF.to_json(), "x") == REF
    entry = EntryRef("runs", REF)
    assert EntryRef.from_json(entry.to_json(), "x") == entry


@pytest.mark.parametrize("tag", ["bound", "v1.2", "2024-05-01", "a_b+c", "abc", "Q"])
def test_ordinary_tags_pass(tag: str) -> None:
    """Letters, digits and . _ - + are fine."""
    assert check_tag(tag) == tag


@pytest.mark.parametrize(
    "tag",
    [
        "",
        ".",
        "..",
        ".nfs0001",
        "-d",
        "a/b",
        "a b",
        "a\n",
        "é",
        "default",
        "beef",
        "BEEF",
        "x" * 101,
    ],
)
def test_tags_that_would_do_harm_are_refused(tag: str) -> None:
    """No paths, no hidden files, no options, nothing that could be a hash (S10)."""
    with pytest.raises(MalformedTagError):
        check_tag(tag)


@given(st.text())
def test_a_tag_is_a_file_name(tag: str) -> None:
    """Whatever passes is one plain name of a file."""
    try:
        check_tag(tag)
    except MalformedTagError:
        return
    assert tag.isascii() and "/" not in tag and not tag.startswith(".")
