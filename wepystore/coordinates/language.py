"""Coordinates as they are written.

    progress                             what the boundary conditions measure
    progress/FIELD                       where they measure several things
    distance(SELECTION, SELECTION)       nm; of several atoms between centres of mass
    angle(SELECTION, SELECTION, SELECTION)
    torsion(SELECTION, …), torsion(@phi-5)
    rmsd(SELECTION)                      nm; to the reference, superposed
    rmsd(SELECTION, SELECTION)           of the first, after the second were superposed
    rg(SELECTION)                        nm; about the centre of mass
    contacts(SELECTION, SELECTION, CUTOFF)
    position(SELECTION, x)
    1.5*rg(all) - distance(…)            sums of these
    FILE.py:FUNCTION                     a function of positions and box vectors

Selections are as of wepystore.coordinates.selections.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wepystore.coordinates.base import Atoms, Coordinate
from wepystore.coordinates.composed import Combination
from wepystore.coordinates.errors import CoordinateTextError, UnknownSystemError, nearest
from wepystore.coordinates.geometry import Angle, AtomDistance, Position, Torsion
from wepystore.coordinates.selections import select, torsion_atoms
from wepystore.coordinates.shapes import RMSD, Contacts, RadiusOfGyration
from wepystore.coordinates.systems import System

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[A-Za-z_]\w*")
_NUMBER = re.compile(r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?")
_PROGRESS = re.compile(r"progress(?:/(.+))?")
_FROM_FILE = re.compile(r"(.+\.py):([A-Za-z_]\w*)")
_AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Progress:
    """What the boundary conditions measure of each walker.

    Attributes
    ----------
    field : str or None
        None where there is only one.
    """

    field: str | None = None


@dataclass(frozen=True)
class FromFile:
    """A function in a file of Python.

    Attributes
    ----------
    file, function : str
    """

    file: str
    function: str


class _Argument(NamedTuple):
    """What stands between two commas, and where."""

    text: str
    place: int


@dataclass(frozen=True)
class _Call:
    """A function's name, its arguments, and where the name is."""

    name: str
    arguments: tuple[_Argument, ...]
    place: int


@dataclass(frozen=True)
class Written:
    """A coordinate that was read, of no system yet.

    Attributes
    ----------
    text : str
    terms : tuple of (float, call)
        Of which it is the sum.
    """

    text: str
    terms: tuple[tuple[float, _Call], ...]

    def of(self, system: System) -> Coordinate:
        """The coordinate of a system.

        Raises
        ------
        SelectionTextError, CoordinateTextError : it selects what is not there, or does not go
            together.
        UnknownSystemError : names, masses or a reference are needed, and there are none.
        """
        parts = [_build(call, self.text, system) for _, call in self.terms]
        factors = [factor for factor, _ in self.terms]
        if factors == [1.0]:
            return parts[0]
        with _told(self.text, self.terms[0][1].place):
            return Combination(tuple(factors), tuple(parts))


def read(text: str) -> Progress | FromFile | Written:
    """What a text asks for. Raises CoordinateTextError, with where it is wrong."""
    stripped = text.strip()
    if match := _PROGRESS.fullmatch(stripped):
        return Progress(match[1])
    if match := _FROM_FILE.fullmatch(stripped):
        return FromFile(match[1], match[2])
    return _Reader(text).read()


class _Reader:
    """Reads a sum of calls; what is within their brackets it cuts at the commas."""

    def __init__(self, text: str) -> None:
        self._text, self._place = text, 0

    def read(self) -> Written:
        terms = [self._term(first=True)]
        while self._skip() < len(self._text):
            terms.append(self._term(first=False))
        return Written(self._text, tuple(terms))

    def _skip(self) -> int:
        """Past spaces; where that is."""
        match = _SPACE.match(self._text, self._place)
        assert match is not None
        self._place = match.end()
        return self._place

    def _next(self) -> str:
        return self._text[self._skip() : self._place + 1]

    def _term(self, first: bool) -> tuple[float, _Call]:
        sign = self._next()
        if sign in ("+", "-") and sign:
            self._place += 1
        elif not first:
            raise self._wrong(f"'+' or '-' must come before {sign!r}")
        factor = -1.0 if sign == "-" else 1.0
        self._skip()
        if match := _NUMBER.match(self._text, self._place):
            self._place = match.end()
            if self._next() != "*":
                raise self._wrong(f"'*' and a coordinate must come after {match[0]}")
            self._place += 1
            factor *= float(match[0])
        return factor, self._call()

    def _call(self) -> _Call:
        place = self._skip()
        match = _NAME.match(self._text, place)
        if match is None:
            there = self._next()
            raise self._wrong(
                f"{there!r} begins no coordinate" if there else "a coordinate is missing here"
            )
        name = match[0]
        if name not in FORMS:
            near = nearest(name, ("progress", *FORMS))
            whole = "; it cannot be part of a sum" if name == "progress" else near
            raise self._wrong(f"there is no coordinate {name!r}{whole}")
        self._place = match.end()
        if self._next() != "(":
            raise self._wrong(f"'(' must come after {name!r}: {FORMS[name].text}")
        self._place += 1
        return _Call(name, self._arguments(name), place)

    def _arguments(self, name: str) -> tuple[_Argument, ...]:
        found, begin, depth = [], self._place, 0
        for place in range(begin, len(self._text)):
            letter = self._text[place]
            depth += (letter == "(") - (letter == ")")
            if depth < 0 or (letter == "," and not depth):
                found.append(_Argument(self._text[begin:place], begin))
                begin = place + 1
            if depth < 0:
                self._place = begin
                break
        else:
            self._place = len(self._text)
            raise self._wrong(f"the ')' of {name!r} is missing")
        form = FORMS[name]
        if len(found) not in form.counts or not all(each.text.strip() for each in found):
            self._place = found[-1].place
            raise self._wrong(f"{name!r} is written {form.text}")
        return tuple(found)

    def _wrong(self, why: str) -> CoordinateTextError:
        return CoordinateTextError(text=self._text, why=why, place=self._place + 1)


class _told:
    """What a coordinate finds wrong with its parameters is told of as CoordinateTextError."""

    def __init__(self, text: str, place: int) -> None:
        self._text, self._place = text, place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, ValueError):
            why = str(problem)
            raise CoordinateTextError(text=self._text, why=why, place=self._place + 1) from None


class _Making:
    """What makes a coordinate needs: its arguments, read as what they are to be."""

    def __init__(self, call: _Call, text: str, system: System) -> None:
        self._call, self._text, self.system = call, text, system

    def atoms(self, number: int) -> Atoms:
        """A selection."""
        text, place = self._call.arguments[number]
        return select(text, self.system, place, self._text)

    def points(self) -> tuple[Atoms, ...]:
        """All arguments as selections; one alone is the name of a torsion."""
        if len(self._call.arguments) > 1:
            return tuple(map(self.atoms, range(len(self._call.arguments))))
        text, place = self._call.arguments[0]
        found = torsion_atoms(text, self.system, place, self._text)
        if found is None:
            raise self.wrong(0, "four selections are needed, or one that names a torsion: @phi-5")
        return tuple((atom,) for atom in found)

    def masses(self, atoms: Atoms) -> tuple[float, ...] | None:
        """Of some atoms; of one alone they do not matter."""
        return None if len(atoms) == 1 else self.system.masses_of(atoms, self._text)

    def number(self, number: int) -> float:
        """A number above 0."""
        text = self._call.arguments[number].text.strip()
        if not _NUMBER.fullmatch(text) or not 0 < float(text) < float("inf"):
            raise self.wrong(number, f"{text!r} is no number above 0")
        return float(text)

    def axis(self, number: int) -> int:
        """One of x, y and z."""
        text = self._call.arguments[number].text.strip()
        if text not in _AXES:
            raise self.wrong(number, f"{text!r} is no axis{nearest(text, _AXES)}")
        return _AXES.index(text)

    def has(self, number: int) -> bool:
        """Whether there is such an argument."""
        return len(self._call.arguments) > number

    def wrong(self, number: int, why: str) -> CoordinateTextError:
        """Of one of the arguments."""
        text, place = self._call.arguments[number]
        place += len(text) - len(text.lstrip())
        return CoordinateTextError(text=self._text, why=why, place=place + 1)


def _of_points(kind: Callable[..., Coordinate]) -> Callable[[_Making], Coordinate]:
    def make(given: _Making) -> Coordinate:
        points = given.points()
        return kind(points, tuple(map(given.masses, points)))

    return make


def _position(given: _Making) -> Coordinate:
    atoms = given.atoms(0)
    return Position((atoms,), (given.masses(atoms),), given.axis(1))


def _rmsd(given: _Making) -> Coordinate:
    system, measured = given.system, given.atoms(0)
    superposed = given.atoms(1) if given.has(1) else None
    if system.reference is None:
        why = "there is no reference to measure from: the snapshot is not here where the runs began"
        raise UnknownSystemError(what=f"rmsd of {len(measured)} atoms", why=why)
    return RMSD.to(system.reference, measured, superposed, system.reference_box)


def _rg(given: _Making) -> Coordinate:
    atoms = given.atoms(0)
    return RadiusOfGyration(atoms, given.masses(atoms))


def _contacts(given: _Making) -> Coordinate:
    return Contacts(given.atoms(0), given.atoms(1), given.number(2))


class Form(NamedTuple):
    """How a coordinate is written.

    Attributes
    ----------
    text : str
        For people.
    counts : tuple of int
        The numbers of arguments that it may have.
    make : callable
    """

    text: str
    counts: Sequence[int]
    make: Callable[[_Making], Coordinate]


FORMS = {
    "distance": Form("distance(SELECTION, SELECTION)", (2,), _of_points(AtomDistance)),
    "angle": Form("angle(SELECTION, SELECTION, SELECTION)", (3,), _of_points(Angle)),
    "torsion": Form(
        "torsion(SELECTION, SELECTION, SELECTION, SELECTION), or torsion(@phi-5)",
        (1, 4),
        _of_points(Torsion),
    ),
    "rmsd": Form("rmsd(SELECTION), or rmsd(SELECTION, SUPERPOSED)", (1, 2), _rmsd),
    "rg": Form("rg(SELECTION)", (1,), _rg),
    "contacts": Form("contacts(SELECTION, SELECTION, CUTOFF)", (3,), _contacts),
    "position": Form("position(SELECTION, x)", (2,), _position),
}


def _build(call: _Call, text: str, system: System) -> Coordinate:
    with _told(text, call.place):
        return FORMS[call.name].make(_Making(call, text, system))
