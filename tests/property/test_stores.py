"""Several stores against plain sets: whatever is added, merged, tagged, lost, damaged and repaired
in them, in any order, each has just what the sets say."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.store.helpers import add_config, add_run, add_snapshot, memory
from wepystore.errors import DamagedError
from wepystore.store import KINDS, Store, graph, merge
from wepystore.store.care import fsck, report
from wepystore.store.errors import MissingError

Name = tuple[str, str]
STORES = 3

which = st.integers(0, STORES - 1)
some = st.lists(which, min_size=1, max_size=STORES, unique=True)
tag_names = st.sampled_from(["bound", "free"])


class Universe:
    """Everything there can be: bytes by name, what each entry needs, and what comes with it if all
    is added: a recording does not need its frames (D4)."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory(dir=memory()) as folder:
            store = Store.create(Path(folder) / "all.orch")
            snapshots = [add_snapshot(store, label) for label in "abc"]
            configs = [add_config(store, label) for label in "xy"]
            for start, end, config in zip(snapshots, snapshots[1:], configs, strict=False):
                add_run(store, start, end, config)
            store.put("objects", b"alone")
            self.names = sorted((kind, md5) for kind in KINDS for md5 in store.hashes(kind))
            self.data = {name: store.read(*name) for name in self.names}
            named = {
                name: {(part, ref.md5) for part, ref in store.references(*name)}
                for name in self.names
            }
        self.parts = {
            name: {part for part in parts if part[0] != "frames"} for name, parts in named.items()
        }
        self.closures = {name: _closure(self.parts, name) for name in self.names}
        self.everything = {name: _closure(named, name) for name in self.names}
        self.entries = [name for name in self.names if name[0] != "objects"]


def _closure(named: dict[Name, set[Name]], name: Name) -> frozenset[Name]:
    todo, found = [name], {name}
    while todo:
        for part in named[todo.pop()] - found:
            found.add(part)
            todo.append(part)
    return frozenset(found)


ALL = Universe()
OBJECTS = [name for name in ALL.names if name[0] == "objects"]

entries = st.sampled_from(ALL.entries)
names = st.sets(st.sampled_from(ALL.names), min_size=1, max_size=4)


class Model:
    """What one store has."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.whole: set[Name] = set()
        # By name, what the damaged file holds.
        self.bad: dict[Name, bytes] = {}
        self.refs: dict[str, str] = {}
        self.aside: list[bytes] = []

    @property
    def there(self) -> set[Name]:
        return self.whole | self.bad.keys()


class Stores(RuleBasedStateMachine):
    """Three stores, in which anything happens."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="wepystore-", dir=memory()))
        self.models = [Model(Store.create(self.folder / f"{i}.orch")) for i in range(STORES)]

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # ---- what writers do

    @initialize(held=st.lists(st.sets(entries), min_size=STORES, max_size=STORES))
    def begin(self, held: list[set[Name]]) -> None:
        """Each store has something from the start."""
        for at, wanted in enumerate(held):
            for entry in sorted(wanted):
                self.add(at, entry)

    @rule(at=which, entry=entries)
    def add(self, at: int, entry: Name) -> None:
        """An entry with all it names in one batch; what was bad of it goes to quarantine (S2)."""
        model = self.models[at]
        closure = ALL.everything[entry]
        with model.store.batch() as batch:
            for name in sorted(closure, reverse=at % 2 == 0):
                assert batch.put(name[0], ALL.data[name]).md5 == name[1]
        assert set(batch.new) <= closure - model.whole
        self._heal(model, closure)

    @rule(at=which, name=st.sampled_from(OBJECTS))
    def add_object(self, at: int, name: Name) -> None:
        """One object alone."""
        model = self.models[at]
        model.store.put("objects", ALL.data[name])
        self._heal(model, {name})

    @rule(at=which, entry=entries)
    def fail_to_add(self, at: int, entry: Name) -> None:
        """A batch that ends by an exception leaves nothing."""
        model = self.models[at]
        with pytest.raises(ZeroDivisionError), model.store.batch() as batch:
            for name in ALL.closures[entry]:
                batch.put(name[0], ALL.data[name])
            raise ZeroDivisionError

    @rule(at=which, tag=tag_names, name=entries)
    def tag(self, at: int, tag: str, name: Name) -> None:
        """A tag can name what is there, but for a recording and frames."""
        model = self.models[at]
        if name in model.there and name[0] not in ("recordings", "frames"):
            model.store.set_ref(f"tags/{tag}", name[1])
            model.refs[f"tags/{tag}"] = name[1]
        else:
            with pytest.raises(MissingError):
                model.store.set_ref(f"tags/{tag}", name[1])

    @rule(at=which, tag=tag_names)
    def untag(self, at: int, tag: str) -> None:
        model = self.models[at]
        model.store.del_ref(f"tags/{tag}")
        model.refs.pop(f"tags/{tag}", None)

    # ---- what happens to stores

    @rule(at=which, lost=names)
    def lose(self, at: int, lost: set[Name]) -> None:
        """Files do not arrive: half a store (S5)."""
        model = self.models[at]
        for name in lost & model.there:
            model.store.file(*name).unlink()
            model.whole.discard(name)
            model.bad.pop(name, None)

    @rule(at=which, hurt=names, how=st.sampled_from(["cut", "flip", "empty"]))
    def damage(self, at: int, hurt: set[Name], how: str) -> None:
        """Files have other bytes than their names say."""
        model = self.models[at]
        for name in hurt & model.whole:
            data = ALL.data[name]
            flipped = bytes([data[0] ^ 4]) + data[1:]
            wrong = {"cut": data[:-1], "flip": flipped, "empty": b""}[how]
            file = model.store.file(*name)
            # Not in place: the file may have links in other stores.
            file.unlink()
            file.write_bytes(wrong)
            model.whole.discard(name)
            model.bad[name] = wrong

    # ---- what brings them together

    @rule(into=which, sources=some, frames=st.booleans())
    def merge(self, into: int, sources: list[int], frames: bool) -> None:
        """The union of all that is whole (S6), nothing else, and again nothing more; without frames
        all but these."""
        model = self.models[into]
        others = [self.models[i] for i in sources if i != into]
        apart = {"objects"} if frames else {"objects", "frames"}
        listed = {name for other in others for name in other.there if name[0] not in apart}
        before, bad, refs = set(model.whole), dict(model.bad), dict(model.refs)
        had = [(set(other.there), dict(other.refs)) for other in others]
        outcome = self._merged(model, others, frames)
        now = self._files(model.store)
        within = set(before).union(*(other.whole for other in others))
        # Nothing is lost, nothing damaged comes in.
        for name in before:
            assert now[name] == ALL.data[name]
        for name, data in now.items():
            assert data == ALL.data[name] or data == bad[name], name
            assert name in before or name in bad or name in within
        # All that can come has come, and of it only what lay here damaged may still be so, where
        # the manifest was here before and nothing made us look.
        can = {name for name in listed if ALL.closures[name] <= within}
        for name in can:
            for part in ALL.closures[name]:
                assert part in now, part
                assert now[part] == ALL.data[part] or part in bad
                if part in bad and len(bad[part]) != len(ALL.data[part]):
                    assert now[part] == ALL.data[part], part
        # What is left out is told, and only that.
        left = {(x.kind, x.md5) for x in outcome.left if x.kind != "refs"}
        assert left <= listed - can
        new = {name for name in now if name not in before and name not in bad}
        assert frames or "frames" not in {kind for kind, _ in new}
        assert not {name for name in new if name[0] != "objects"} & left
        # A manifest comes only with all it needs.
        for name in new:
            for part in ALL.closures[name]:
                assert part in now, (name, part)
            # What lay here before was compared with what the newcomer means by it (S3).
            for part in ALL.parts[name]:
                assert now[part] == ALL.data[part], (name, part)
        self._look(model)
        # S7: a ref that was set stays; a new one comes from somewhere.
        after = self._refs(model.store)
        for ref, md5 in refs.items():
            assert after[ref] == md5
        for ref in after.keys() - refs.keys():
            assert after[ref] in {other_refs.get(ref) for _, other_refs in had}
        for conflict in outcome.conflicts:
            assert conflict.ours == refs.get(conflict.name) != conflict.theirs
        model.refs = after
        # Sources stay as they are, and the second time nothing happens.
        for other, (there, other_refs) in zip(others, had, strict=True):
            assert self._files(other.store).keys() == there
            assert self._refs(other.store) == other_refs
        again = self._merged(model, others, frames)
        assert self._files(model.store) == now and self._refs(model.store) == after
        assert not {entry for entry in again.entries if entry.new}

    def _merged(self, model: Model, others: list[Model], frames: bool) -> merge.Outcome:
        stores = [other.store for other in others]
        return merge.apply(merge.plan(model.store, stores, frames=frames))

    # ---- what looks and heals

    @rule(at=which)
    def check(self, at: int) -> None:
        """fsck names just what is damaged or missing."""
        model = self.models[at]
        found = fsck.check(model.store)
        assert {(p.kind, p.name) for p in found.problems} == self._wrong(model)
        for problem in found.problems:
            if problem.kind in KINDS:
                name = (problem.kind, problem.name)
                assert problem.what == (report.DAMAGED if name in model.bad else report.MISSING)

    @rule(at=which, sources=some)
    @precondition(lambda self: any(model.bad for model in self.models))
    def repair(self, at: int, sources: list[int]) -> None:
        """What a source has whole with all it needs is whole here; the rest is set aside."""
        model = self.models[at]
        others = [self.models[i] for i in sources if i != at]
        wrong = self._wrong(model)
        bad, before = dict(model.bad), set(model.whole)
        done = fsck.repair(model.store, fsck.check(model.store), [other.store for other in others])
        now = self._files(model.store)
        within = before.union(*(other.whole for other in others))
        for name in before:
            assert now[name] == ALL.data[name]
        for name in now:
            assert now[name] == ALL.data[name] and name in within
        for name in wrong:
            if name[0] in KINDS and ALL.closures[name] <= within:
                assert name in now, name
        kept = [path.read_bytes() for path in (model.store.path / "quarantine").iterdir()]
        for data in bad.values():
            assert data in kept
        self._look(model)
        model.refs = self._refs(model.store)
        after = self._wrong(model)
        assert after <= wrong | {("refs", ref) for ref in model.refs}
        assert fsck.check(model.store).healthy == (not after)
        assert not [p for p in done.healed if (p.kind, p.name) in after and p.kind in KINDS]

    # ---- comparing

    def _heal(self, model: Model, good: set[Name] | frozenset[Name]) -> None:
        model.whole |= good
        for name in good:
            data = model.bad.pop(name, None)
            if data is not None:
                model.aside.append(data)
        kept = [path.read_bytes() for path in (model.store.path / "quarantine").iterdir()]
        assert all(data in kept for data in model.aside)

    def _wrong(self, model: Model) -> set[Name]:
        named = {part for name in model.whole for part in ALL.parts[name]}
        missing = named - model.there
        listed = {md5 for kind, md5 in model.there if kind != "objects"}
        refs = {("refs", ref) for ref, md5 in model.refs.items() if md5 not in listed}
        return missing | model.bad.keys() | refs

    def _look(self, model: Model) -> None:
        """Set the model to what is there, which has been judged."""
        files = self._files(model.store)
        model.whole = {name for name, data in files.items() if data == ALL.data[name]}
        model.bad = {name: data for name, data in files.items() if name not in model.whole}

    @staticmethod
    def _files(store: Store) -> dict[Name, bytes]:
        there = [(kind, md5) for kind in KINDS for md5 in store.hashes(kind)]
        return {name: store.file(*name).read_bytes() for name in there}

    @staticmethod
    def _refs(store: Store) -> dict[str, str]:
        found = {name: store.ref(name) for name in graph.ref_names(store)}
        return {name: md5 for name, md5 in found.items() if md5 is not None}

    @invariant()
    def agree(self) -> None:
        """Lists, reads and refs are the model's, and tmp/ is empty."""
        for model in self.models:
            assert {(k, md5) for k in KINDS for md5 in model.store.hashes(k)} == model.there
            for name in model.whole:
                assert model.store.read(*name) == ALL.data[name]
            for name in model.bad:
                with pytest.raises(DamagedError):
                    model.store.read(*name)
            assert self._refs(model.store) == model.refs
            assert not list((model.store.path / "tmp").iterdir())


class LongStores(Stores):
    """The same for longer."""


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, derandomize=True
)
TestLongStores = pytest.mark.slow(LongStores.TestCase)
TestLongStores.settings = settings(
    max_examples=1000, stateful_step_count=50, deadline=None, database=None
)
