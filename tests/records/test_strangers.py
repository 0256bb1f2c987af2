"""What a store holds may come from a stranger: what encoding writes is decoded, nothing else."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import pytest

from tests.systems import langevin, pair_runner, pair_state, pair_system
from wepystore import api
from wepystore.engine.component import Component, Text
from wepystore.engine.errors import ComponentError, PlatformError
from wepystore.engine.runners.openmm.platforms import load_platform
from wepystore.engine.runners.openmm.xml import MOST_LEVELS
from wepystore.engine.topology import TopologyError, openmm_topology
from wepystore.errors import DamagedError
from wepystore.records import registry
from wepystore.records.configuration import decode_configuration
from wepystore.records.sinks import Memory
from wepystore.records.values import decode, encode
from wepystore.store.names import Ref
from wepystore.store.pickles.pickled import may_run_code

Made = Callable[[], Component]

FOUR = api.as_walker_state(np.eye(4, 3), np.eye(3))
FAR = api.as_walker_state(np.diag([9.0, 1.0, 1.0, 1.0])[:, :3], np.eye(3))
PAIR = api.PairDistance(0, 1, periodic=False)


def slope(x: Any) -> Any:
    return x


#: One of each, with every argument that may be left out given once.
EXAMPLES: dict[str, list[Made]] = {
    "BinResampler": [lambda: api.BinResampler(api.ImageCoordinate(PAIR), [0.4])],
    "CoordinateDistance": [lambda: api.CoordinateDistance(api.ImageCoordinate(PAIR))],
    "DashboardReporter": [api.DashboardReporter],
    "DaskMapper": [api.DaskMapper, lambda: api.DaskMapper(None, 2, 60.0)],
    "DoubleWell": [api.DoubleWell],
    "FamilyTreeReporter": [api.FamilyTreeReporter],
    "FieldCoordinate": [lambda: api.FieldCoordinate(["x"])],
    "FunctionPotential": [lambda: api.FunctionPotential(slope, slope)],
    "HDF5Reporter": [api.HDF5Reporter],
    "Harmonic": [api.Harmonic],
    "ImageCoordinate": [lambda: api.ImageCoordinate(PAIR)],
    "InitTopologyReporter": [api.InitTopologyReporter],
    "NoBC": [api.NoBC],
    "NoResampler": [api.NoResampler],
    "OpenMMRunner": [pair_runner, lambda: pair_runner(platform_properties={"Threads": "1"})],
    "OverdampedLangevinRunner": [lambda: api.OverdampedLangevinRunner(api.DoubleWell())],
    "PairDistance": [api.PairDistance],
    "PositionCoordinate": [api.PositionCoordinate],
    "ProcessMapper": [
        api.ProcessMapper,
        lambda: api.ProcessMapper(2, [{"DeviceIndex": "0"}], 60.0),
    ],
    "REVOResampler": [lambda: api.REVOResampler(PAIR, 0.1, 0.1)],
    "RMSDDistance": [lambda: api.RMSDDistance([0, 1, 2])],
    "RandomWalkDistance": [api.RandomWalkDistance],
    "RandomWalkRunner": [api.RandomWalkRunner],
    "RandomWalkTargetBC": [lambda: api.RandomWalkTargetBC(9, [pair_state()])],
    "RebindingBC": [lambda: api.RebindingBC(0.1, [FAR], FOUR, [0], [1, 2, 3], None, False)],
    "RebindingDistance": [lambda: api.RebindingDistance([0], [1, 2, 3], FOUR, False)],
    "ReceptorLigandDistance": [lambda: api.ReceptorLigandDistance([0], [1, 2, 3], FOUR, False)],
    "Recording": [api.Recording, lambda: api.Recording(["x"], [3, 1], 2, "float64")],
    "ReferenceCoordinate": [lambda: api.ReferenceCoordinate(PAIR, pair_state())],
    "SerialMapper": [api.SerialMapper],
    "TargetBC": [lambda: api.TargetBC(api.ImageCoordinate(PAIR), [pair_state()], 1.0)],
    "UnbindingBC": [lambda: api.UnbindingBC(1.0, [pair_state()], [0], [1], periodic=False)],
    "UnbindingDistance": [lambda: api.UnbindingDistance([0], [1, 2, 3], FOUR, False)],
    "WExploreResampler": [lambda: api.WExploreResampler(PAIR)],
    "WalkerReporter": [api.WalkerReporter],
    "XYDistance": [api.XYDistance],
}


def recorded(component: Component) -> tuple[Any, Memory]:
    memory = Memory()
    return encode(component, memory, "it"), memory


def decoded(value: Any, memory: Memory) -> Any:
    def fetch(ref: Ref) -> bytes:
        return memory.entries["objects", ref.md5]

    return decode(value, fetch, "it")


def test_every_registered_component_has_an_example() -> None:
    """Whoever registers a component has it tried here."""
    assert sorted(EXAMPLES) == sorted(registry.PLACES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_decoding_takes_only_what_encoding_writes(name: str) -> None:
    """For every component that a store may name: just the parameters that it writes itself make
    one; each argument of its constructor that it does not write, any other key, a key that lacks
    and a version that never was are refused, by name, before any value is decoded."""
    cls = registry.builtin_class(name, "")
    written: set[str] = set()
    for make in EXAMPLES[name]:
        value, memory = recorded(make())
        again, _ = recorded(decoded(value, memory))
        assert again == value
        written |= value["component"]["params"].keys()
    always, sometimes = cls.parameter_names(cls.version)
    assert written == always | sometimes, "an argument that no example has"
    value, memory = recorded(EXAMPLES[name][0]())
    unwritten = (set(inspect.signature(cls).parameters) - written) | {"addr", "__class__"}
    # What cannot be decoded shows that nobody has tried.
    nothing = {"pickle": {"md5": "0" * 32, "sha256": "0" * 64, "size": 1}, "of": "x"}
    for key in unwritten:
        changed = copy.deepcopy(value)
        changed["component"]["params"][key] = nothing
        with pytest.raises(DamagedError, match=f"{name} takes no '{key}' from a store"):
            decoded(changed, memory)
        with pytest.raises(ValueError, match=f"{name} takes no '{key}'"):
            cls.from_params({**EXAMPLES[name][0]().params(), key: None}, cls.version)
    for key in always:
        changed = copy.deepcopy(value)
        del changed["component"]["params"][key]
        with pytest.raises(DamagedError, match=f"{name} lacks its '{key}'"):
            decoded(changed, memory)
    for version in (0, -1, True, "1", None, cls.version + 1, 1.0):
        changed = copy.deepcopy(value)
        changed["component"]["version"] = version
        with pytest.raises(DamagedError, match="version"):
            decoded(changed, memory)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(addr="x"),
        lambda value: value["component"].update(addr="x"),
        lambda value: value["component"].update(state={"addr": "x"}),
        lambda value: value.update(dict={}),
    ],
)
def test_a_value_has_one_form(change: Callable[[Any], None]) -> None:
    """Nothing beside the telling key of a value, the keys of a component, or its state's."""
    for name in ("WExploreResampler", "PairDistance"):
        value, memory = recorded(EXAMPLES[name][0]())
        change(value)
        with pytest.raises(DamagedError):
            decoded(value, memory)


@pytest.mark.parametrize(
    "properties",
    [
        {"CudaCompiler": "/tmp/evil"},
        {"CudaCompiler": "nvcc"},
        {"TempDirectory": "x"},
        {"HipHostCompiler": "x"},
        {"DeviceName": "../x"},
        {"DeviceIndex": "0\n"},
        {"Threads": "100000000"},
        {"Threads": "-1"},
        {"Threads": "1025"},
        {"Threads": "many"},
        {"": "x"},
        {"DeviceIndex": "0," * 1000},
    ],
)
def test_platform_properties_name_no_place_and_no_crowd(properties: dict[str, str]) -> None:
    """Programs, folders, text that is no value and 10^8 threads (which end the process) are
    refused where they are given, decoded and used."""
    with pytest.raises(ValueError, match=r"properties|Threads"):
        pair_runner(platform_properties=properties)
    with pytest.raises(ValueError, match=r"properties|Threads"):
        api.ProcessMapper(1, [properties])
    with pytest.raises(PlatformError):
        load_platform("CPU", properties)
    with pytest.raises(ComponentError, match=r"properties|Threads"):
        api.Configuration(api.SerialMapper(), platform="CPU", platform_properties=properties)
    serial, memory = recorded(api.SerialMapper())
    manifest = {
        "type": "configuration",
        "format": 1,
        "work_mapper": serial,
        "reporters": [],
        "monitor": None,
        "platform": "CPU",
        "platform_properties": {"dict": properties},
    }
    with pytest.raises(DamagedError, match=r"properties|Threads"):
        decode_configuration(manifest, lambda ref: memory.entries["objects", ref.md5], "it")


# ---- what OpenMM reads

SYSTEM = openmm.XmlSerializer.serialize(pair_system())


@pytest.mark.parametrize(
    "text",
    [
        SYSTEM.replace('"NonbondedForce"', '"TorchForce"'),
        SYSTEM.replace('"NonbondedForce"', '"PlumedForce"'),
        SYSTEM.replace('"NonbondedForce"', "'PlumedForce'"),
        SYSTEM.replace('type="NonbondedForce"', 'type = "PlumedForce"'),
        SYSTEM.replace('type="NonbondedForce"', 'type\n="PlumedForce"'),
        SYSTEM.replace('type="NonbondedForce"', 'type junk "PlumedForce"'),
        SYSTEM.replace('type="NonbondedForce"', 'name="x"type="PlumedForce"'),
        SYSTEM.replace('type="NonbondedForce"', 'type="NonbondedForce" type="PlumedForce"'),
        SYSTEM.replace('"NonbondedForce"', '"Plumed&#70;orce"'),
    ],
)
def test_a_force_of_a_plugin_needs_trust(text: str) -> None:
    """Forces of plugins open files and load code (openmm-torch, openmm-plumed): any type of which
    OpenMM itself is not known to make something harmless needs trust, however it is written."""
    assert text != SYSTEM
    assert may_run_code(text) and may_run_code(text.encode())


def test_what_openmm_writes_itself_needs_none() -> None:
    """Forces, integrators and functions of OpenMM, names of any kind: no question is asked."""
    system = pair_system()
    force = openmm.CustomExternalForce("step(type1-prototype)*(x<1)")
    force.setName('a"b<c> \'type\' & "type"')
    force.addPerParticleParameter("type1")
    force.addPerParticleParameter("prototype")
    system.addForce(force)
    inner = openmm.CustomCVForce("a^2")
    inner.addCollectiveVariable("a", openmm.RMSDForce([openmm.Vec3(0, 0, 0)] * 2))
    inner.addTabulatedFunction("f", openmm.Continuous1DFunction([0, 1], 0, 1))
    system.addForce(inner)
    custom = openmm.CustomIntegrator(0.001)
    custom.addComputePerDof("v", "v+dt*f/m")
    custom.beginIfBlock("dt > 0")
    custom.endBlock()
    for thing in (system, custom, langevin()):
        assert not may_run_code(openmm.XmlSerializer.serialize(thing))
    assert may_run_code('<System type="System"><Force type="PythonForce"/></System>')


def nested(levels: int) -> str:
    return f'<System type="System" version="1">{"<a>" * levels}{"</a>" * levels}</System>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (nested(1_000_000), "more than 200 levels"),
        (nested(MOST_LEVELS), "more than 200 levels"),
        # OpenMM's parser takes these for elements, others do not.
        ("<?xml version='1.0'?><?x > " + "<a>" * 10**5 + " ?><System/>", "instructions"),
        ("<System><![CDATA[" + "<a>" * 10**5 + "]]></System>", "declarations"),
        ("<System><!-- > " + "<a>" * 10**5 + " --></System>", "declarations"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><System>&b;</System>', "declarations"),
        ("<System", "it is no XML"),
        ("not at all", "it is no XML"),
        ("", "it is no XML"),
        ("\0", "it is no XML"),
    ],
)
def test_xml_that_would_end_the_process_is_no_xml(text: str, said: str) -> None:
    """A million levels make OpenMM's parser end the process (SIGSEGV): refused before it sees
    them, as is what is no XML, in one line that names the part."""
    for what, make in (
        ("system", lambda: api.OpenMMRunner(Text(text), None, langevin())),
        ("integrator", lambda: api.OpenMMRunner(pair_system(), None, Text(text))),
    ):
        with pytest.raises(ComponentError, match=f"{what}: .*{said}") as caught:
            make()
        assert len(str(caught.value).splitlines()) == 1


def test_xml_of_something_else_is_named() -> None:
    """Well-formed XML that OpenMM cannot read, or that is another thing, is told in one line."""
    for system, said in (
        ("<x/>", "cannot be read"),
        ('<System type="System" version="1"/>', "cannot be read"),
        (openmm.XmlSerializer.serialize(langevin()), "it is a Langevin"),
    ):
        runner = api.OpenMMRunner(Text(system), None, langevin())
        with pytest.raises(ComponentError, match=f"system: .*{said}"):
            runner.periodic  # noqa: B018


def test_a_topology_says_nothing_of_the_program() -> None:
    """Nesting without end and a type of bond that is a name in OpenMM's module are refused."""
    deep = "[" * 100_000
    for text in (deep, '{"chains":' + deep):
        with pytest.raises(TopologyError):
            openmm_topology(text)
    atoms = [{"index": k, "name": "A", "element": ""} for k in range(2)]
    residue = {"index": 0, "name": "R", "resSeq": 1, "segmentID": "", "atoms": atoms}
    value = {
        "chains": [{"index": 0, "residues": [residue]}],
        "bonds": [[0, 1]],
        "bond_types": [["os", None]],
    }
    with pytest.raises(TopologyError, match="no type of bonds 'os'"):
        openmm_topology(json.dumps(value))
