"""Which parts of a manifest can run code when they are loaded. None is opened here (S9).

Pickles say so of themselves. The other way in is OpenMM's XML: since version 8.4 a system may
hold a PythonForce, whose function is a pickle in an attribute, and reading the XML loads it.
Plugins add types of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from wepystore.store import formats
from wepystore.store.manifests import Manifest
from wepystore.store.names import Ref

# Words of the encoding that say nothing about where in a snapshot a value is.
_ENCODING = frozenset(("component", "params", "dict", "apparatus"))

# What XML cannot name OpenMM's Python classes without: the letters, a character given by its
# number (OpenMM reads "&#80;ython"), or a declaration that could define an entity.
_SIGNS = ("Python", "&#", "<!")

XML = "OpenMM XML"


# Longer than this is nobody's name; messages show them.
_WIDTH = 100


class Pickled(NamedTuple):
    """A part that can run code: where it is in the manifest, what it says it is (XML, for a text
    that may hold a pickle), and the object it is in."""

    where: str
    of: str
    ref: Ref


# What OpenMM itself makes of a type, without running or opening anything: all but PythonForce.
# A plugin's force may open files and load code (openmm-torch, openmm-plumed), so every other
# type needs trust. Numbers are the types of a custom integrator's steps.
_KNOWN = """
    System State AndersenThermostat ATMForce CMAPTorsionForce CMMotionRemover ConstantPotentialForce
    CustomAngleForce CustomBondForce CustomCVForce CustomCentroidBondForce
    CustomCompoundBondForce CustomExternalForce CustomGBForce CustomHbondForce
    CustomManyParticleForce CustomNonbondedForce CustomTorsionForce CustomVolumeForce GBSAOBCForce
    GayBerneForce HarmonicAngleForce HarmonicBondForce LCPOForce MonteCarloAnisotropicBarostat
    MonteCarloBarostat MonteCarloFlexibleBarostat MonteCarloMembraneBarostat NonbondedForce
    OrientationRestraintForce PeriodicTorsionForce RBTorsionForce RGForce RMSDForce
    AmoebaAngleForce AmoebaBondForce AmoebaGeneralizedKirkwoodForce AmoebaInPlaneAngleForce
    AmoebaMultipoleForce AmoebaOutOfPlaneBendForce AmoebaPiTorsionForce AmoebaStretchBendForce
    AmoebaTorsionTorsionForce AmoebaVdwForce AmoebaWcaDispersionForce DrudeForce
    HippoNonbondedForce RPMDMonteCarloBarostat
    BrownianIntegrator CompoundIntegrator CustomIntegrator DPDIntegrator
    DrudeLangevinIntegrator DrudeNoseHooverIntegrator DrudeSCFIntegrator LangevinIntegrator
    LangevinMiddleIntegrator NoseHooverIntegrator QTBIntegrator RPMDIntegrator
    VariableLangevinIntegrator VariableVerletIntegrator VerletIntegrator
    Continuous1DFunction Continuous2DFunction Continuous3DFunction Discrete1DFunction
    Discrete2DFunction Discrete3DFunction
    0 1 2 3 4 5 6 7 8 9 10
"""
_HARMLESS = frozenset(_KNOWN.split())

# Every place where an attribute of that name may begin, however odd; and the one form that
# OpenMM writes, of which is known what it says.
_TYPE = re.compile(r"""type(?=[\s=])(?:="([^"]*)")?""")


def may_run_code(text: bytes | str) -> bool:
    """Whether this may be XML that makes OpenMM load code; errs on the side of yes."""
    if isinstance(text, bytes):
        if b"<" not in text:
            return False
        # One character a byte: the words that are looked for have no others.
        text = text.decode("latin-1")
    if "<" not in text:
        return False
    if any(sign in text for sign in _SIGNS):
        return True
    return any(
        found[1] not in _HARMLESS
        for found in _TYPE.finditer(text)
        # Else it is the end of a longer name.
        if not (text[found.start() - 1].isalnum() or text[found.start() - 1] == "_")
    )


def code_parts(
    manifest: Any, own: Ref, fetch: Callable[[Ref], bytes], what: str = "a manifest"
) -> list[Pickled]:
    """Every part that could run code in whoever loads the manifest, and perhaps more.

    It looks at all JSON objects that have a key "pickle" or "text", whatever else they have and
    wherever they are, and at all strings, so that no loader can find one that this has not.

    Parameters
    ----------
    own
        The manifest itself: where a string that stands in it is.
    fetch
        The verified bytes of an object.

    Raises BadJSONError when a part does not name an object as it should, and as fetch.
    """
    return [
        part
        for part in _walk(manifest, "", own, what)
        if part.of != XML or part.ref == own or may_run_code(fetch(part.ref))
    ]


def parts_in(manifest: Manifest) -> list[Pickled]:
    """As code_parts, of a snapshot or configuration that was read; one in another program's format
    is such a part as a whole."""
    if formats.stands_for(manifest.value) is not None:
        return [Pickled("it", manifest.value["type"], manifest.ref)]
    return code_parts(manifest.value, manifest.ref, manifest.fetch, manifest.what)


def _walk(value: Any, where: str, own: Ref, what: str) -> Iterator[Pickled]:
    # Manifests have at most canonical.MAX_DEPTH levels, so recursion is safe.
    if isinstance(value, str):
        if may_run_code(value):
            yield Pickled(where[-_WIDTH:] or "it", XML, own)
        return
    inside: list[tuple[str, Any]] = []
    if isinstance(value, list):
        inside = [(f"{where}[{number}]", item) for number, item in enumerate(value)]
    elif isinstance(value, dict):
        yield from _named(value, where[-_WIDTH:] or "it", what)
        inside = [
            (where if key in _ENCODING else f"{where}.{key}" if where else key, item)
            for key, item in value.items()
        ]
    for deeper, item in inside:
        if isinstance(item, dict | list | str):
            yield from _walk(item, deeper, own, what)


def _named(value: dict[str, Any], where: str, what: str) -> Iterator[Pickled]:
    """The pickle, or the text, that an object names itself."""
    for key in ("pickle", "text"):
        inner = value.get(key)
        if isinstance(inner, dict) and ("md5" in inner or "sha256" in inner):
            of = value.get("of")
            label = of[:_WIDTH] if isinstance(of, str) and of != XML else "?"
            yield Pickled(where, XML if key == "text" else label, Ref.from_json(inner, what))
