"""A store against a model: what each of two stores lists and lacks, in any sequence of acts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.store.helpers import add_snapshot, check, memory
from wepystore.errors import DamagedError
from wepystore.store import Store, exports, merge
from wepystore.store.errors import IncompleteError

labels = st.sampled_from("abcd")
which = st.integers(0, 1)


class TwoStores(RuleBasedStateMachine):
    """Snapshots are added to, exported from, merged between, and damaged in two stores.

    The model knows for each store which snapshots it lists, and which parts of it are bad. The
    apparatus, which all snapshots share, is never damaged here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=memory()))
        self.stores = [Store.create(self.folder / name) for name in "xy"]
        scratch = Store.create(self.folder / "scratch")
        self.hashes = {label: add_snapshot(scratch, label) for label in "abcd"}
        self.parts = {
            label: [ref.md5 for _, ref in scratch.references("snapshots", md5)[1:]]
            for label, md5 in self.hashes.items()
        }
        self.listed: list[set[str]] = [set(), set()]
        self.bad: list[set[str]] = [set(), set()]

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def whole(self, index: int) -> set[str]:
        return {x for x in self.listed[index] if not self.bad[index] & set(self.parts[x])}

    @rule(index=which, label=labels)
    def add(self, index: int, label: str) -> None:
        """Adding heals what is bad of it (S2)."""
        assert add_snapshot(self.stores[index], label) == self.hashes[label]
        self.listed[index].add(label)
        self.bad[index] -= set(self.parts[label])

    @rule(index=which, label=labels, part=which, how=st.sampled_from(["gone", "cut"]))
    def damage(self, index: int, label: str, part: int, how: str) -> None:
        """A part is lost or cut short: the store is incomplete, not broken (S5)."""
        if label not in self.listed[index]:
            return
        file = self.stores[index].file("objects", self.parts[label][part])
        data = b"cut short"
        file.unlink(missing_ok=True)
        if how == "cut":
            file.write_bytes(data)
        self.bad[index].add(self.parts[label][part])

    @rule(into=which)
    def merge(self, into: int) -> None:
        """The union, of all that is whole in one or both together (S6)."""
        source = 1 - into
        outcome = merge.apply(merge.plan(self.stores[into], [self.stores[source]]))
        here = {p for x in self.listed[into] for p in self.parts[x]} - self.bad[into]
        there = {p for x in self.listed[source] for p in self.parts[x]} - self.bad[source]
        can = {x for x in self.listed[source] if set(self.parts[x]) <= here | there}
        assert {left.md5 for left in outcome.left} == {
            self.hashes[x] for x in self.listed[source] - can
        }
        self.listed[into] |= can
        self.bad[into] -= {p for x in can for p in self.parts[x]}

    @rule(index=which, label=labels)
    def carry(self, index: int, label: str) -> None:
        """get | add: only what is whole comes out, and it comes in whole (I2)."""
        if label not in self.listed[index]:
            return
        file = self.folder / "file"
        md5 = self.hashes[label]
        if label in self.whole(index):
            exports.write(self.stores[index], "snapshots", md5, file)
            assert exports.add(self.stores[1 - index], file) == md5
            self.listed[1 - index].add(label)
            self.bad[1 - index] -= set(self.parts[label])
        else:
            with pytest.raises((IncompleteError, DamagedError)):
                exports.write(self.stores[index], "snapshots", md5, file)

    @invariant()
    def agrees(self) -> None:
        """The listing is the model's, and just what the model calls whole is complete."""
        for index, store in enumerate(self.stores):
            assert store.hashes("snapshots") == sorted(self.hashes[x] for x in self.listed[index])
            for label in self.listed[index]:
                complete = store.missing("snapshots", self.hashes[label]) == []
                assert complete == (label in self.whole(index))
            if not self.bad[index]:
                check(store.path)


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
