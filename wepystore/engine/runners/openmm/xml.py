"""OpenMM's objects as XML, and back: what OpenMM is given to read is XML that it can read.

OpenMM's parser calls itself for each level, so that a text of many levels ends the process;
and what it says of a text that is none does not name it.
"""

from __future__ import annotations

import contextlib
import pickle
import re
from typing import Any
from xml.parsers import expat

import numpy as np
import openmm

from wepystore.engine.component import Text
from wepystore.engine.errors import ComponentError

#: OpenMM writes about ten; forces within forces add some.
MOST_LEVELS = 200

_KINDS = {"system": openmm.System, "integrator": openmm.Integrator}
#: Without one of these a text names no PythonForce (wepystore.store.pickles.pickled).
_SIGNS_OF_PYTHON = ("PythonForce", "&#", "<!")
_COMMENT = re.compile(rb"<!--[^<>]*-->")


def as_xml(thing: Any, what: str) -> Text:
    """The text that a store keeps of a system or integrator; a text as it is, if it is XML."""
    if isinstance(thing, str):
        check_xml(thing, what)
        return Text(thing)
    xml = openmm.XmlSerializer.serialize(thing)
    # The version of the writer is no part of what is simulated: with it, the
    # same system would get another hash from every OpenMM release (I1).
    return Text(re.sub(r' openmmVersion="[^"]*"', "", xml, count=1))


def particle_masses(system: str) -> np.ndarray | None:
    """Of the particles of a system's text, Da, shape (n_particles,), as OpenMM writes them; None if
    one is no number."""
    # To make the system of its XML takes seconds, for large ones.
    found = re.findall(r'<Particle mass="([^"]*)"', system)
    try:
        return np.array(found, dtype=np.float64)
    except ValueError:
        return None


def check_xml(text: str, what: str) -> None:
    """Raise ComponentError unless `text` is well-formed XML of few levels, without declarations.

    Parameters
    ----------
    what : str
        "system", "integrator": for the message.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise _problem(what, "it holds what is no character") from None
    # Where the two parsers might read something else, nothing is to be read: what one takes for
    # a comment or an instruction may be elements to the other.
    if b"<!" in _COMMENT.sub(b"", data) or data.count(b"<?") > 1:
        raise _problem(what, "it has declarations or instructions, which OpenMM does not write")
    parser = expat.ParserCreate("utf-8")
    # Each level above the last needs an end tag, so that this is no more than counting.
    if data.count(b"</") >= MOST_LEVELS:
        _count_levels(parser, what)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as problem:
        raise _problem(what, f"it is no XML: {problem}") from None


def read_xml(text: str, what: str) -> Any:
    """The system or integrator of a text. Raises ComponentError."""
    _check_functions(text, what)
    try:
        found = openmm.XmlSerializer.deserialize(text)
    except (openmm.OpenMMException, ValueError) as problem:
        why = (str(problem).splitlines() or ["OpenMM cannot read it"])[0]
        raise _problem(what, f"it cannot be read: {why}") from None
    if not isinstance(found, _KINDS[what]):
        raise _problem(
            what,
            f"it is a {type(found).__name__}; the order is "
            "OpenMMRunner(system, topology, integrator)",
        )
    return found


def _check_functions(text: str, what: str) -> None:
    """Load the functions of PythonForces, which OpenMM would crash on where they cannot be loaded.

    Whoever comes here has been asked whether what is pickled in the text is to be trusted (S9).
    """
    if not any(sign in text for sign in _SIGNS_OF_PYTHON):
        return

    def element(tag: str, attributes: dict[str, str]) -> None:
        if attributes.get("type") != "PythonForce" or "function" not in attributes:
            return
        try:
            found = pickle.loads(bytes.fromhex(attributes["function"]))
            if not callable(found):
                raise TypeError(f"it is {found!r:.60}, which is no function")
        except Exception as problem:
            said = " ".join(f"{type(problem).__name__}: {problem}".split())
            raise _problem(
                what,
                f"the function of a PythonForce cannot be loaded: {said:.300}; the module it is in "
                "must be installed, or on PYTHONPATH, wherever segments run",
            ) from problem

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = element
    with contextlib.suppress(expat.ExpatError):  # OpenMM says so, too.
        parser.Parse(text.encode(), True)


def _count_levels(parser: Any, what: str) -> None:
    level = 0

    def begin(name: str, attributes: Any) -> None:
        nonlocal level
        level += 1
        if level > MOST_LEVELS:
            raise _problem(what, f"it has more than {MOST_LEVELS} levels of elements")

    def end(name: str) -> None:
        nonlocal level
        level -= 1

    parser.StartElementHandler = begin
    parser.EndElementHandler = end


def _problem(what: str, problem: str) -> ComponentError:
    return ComponentError(component="OpenMMRunner", problem=f"{what}: {problem}")
