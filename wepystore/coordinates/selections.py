"""Which atoms: a small language of names and numbers.

    index 0-9 12          numbers of atoms, counted from 0
    name CA CB, name H*   names of atoms; * stands for anything
    element C, resname ALA, chain A
    resid 5-12            numbers of residues, as the file has them that the system is from
    protein, water, all
    @phi-5                the four atoms of a torsion of residue 5; @phi-A:5 of that in chain A
    and, or, not, ( )

`not` binds more than `and`, `and` more than `or`. Several words after a name mean any of them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wepystore.coordinates.errors import SelectionTextError, nearest
from wepystore.coordinates.systems import System

Mask = NDArray[np.bool_]

_TOKEN = re.compile(r"(\(|\)|[^\s()]+)")
_RANGE = re.compile(r"(-?\d{1,12})(?:-(-?\d{1,12}))?")
_TORSION = re.compile(r"@([A-Za-z0-9]+)-(?:([^\s:]+):)?(-?\d{1,12})")

#: Keyword -> the field of Named with which its words are compared.
_TEXTS = {"name": "name", "element": "element", "resname": "resname", "chain": "chain"}
_NUMBERS = ("index", "resid")
_OPERATORS = ("and", "or", "not")

#: Residues as force fields name them.
_PROTEIN = (
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU", "LYS", "MET"),
    *("PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL", "ACE", "NME", "NHE", "NH2", "ASH", "GLH"),
    *("HID", "HIE", "HIP", "HSD", "HSE", "HSP", "CYX", "CYM", "LYN", "MSE"),
)
#: Names of residues.
WATER = ("HOH", "WAT", "SOL", "TIP3", "TP3")
_GROUPS = {"protein": _PROTEIN, "water": WATER}
_ALONE = ("all", *_GROUPS)
KEYWORDS = (*_TEXTS, *_NUMBERS, *_ALONE, *_OPERATORS)

#: Torsion -> its atoms: name, and in which residue next to that which is named.
_GAMMA = ("CG", "CG1", "OG", "OG1", "SG")
TORSIONS: dict[str, tuple[tuple[tuple[str, ...], int], ...]] = {
    "phi": ((("C",), -1), (("N",), 0), (("CA",), 0), (("C",), 0)),
    "psi": ((("N",), 0), (("CA",), 0), (("C",), 0), (("N",), 1)),
    "omega": ((("CA",), 0), (("C",), 0), (("N",), 1), (("CA",), 1)),
    "chi1": ((("N",), 0), (("CA",), 0), (("CB",), 0), (_GAMMA, 0)),
}


class _Word(NamedTuple):
    """A word of a selection, and where in it."""

    text: str
    place: int


def select(text: str, system: System, shift: int = 0, whole: str | None = None) -> tuple[int, ...]:
    """The atoms that are selected, sorted, one at least.

    Parameters
    ----------
    text : str
        As this module's docstring says.
    system : System
    shift, whole : int, str
        Where the text begins in a longer one, for messages.

    Raises
    ------
    SelectionTextError : it cannot be read, or there are no such atoms; with where, and the nearest
        that there is.
    UnknownSystemError : it asks for names, and the system has none.
    """
    found = _Reader(text, system, shift, text if whole is None else whole).read()
    return tuple(np.flatnonzero(found).tolist())


def torsion_atoms(
    text: str, system: System, shift: int = 0, whole: str | None = None
) -> tuple[int, ...] | None:
    """The atoms of a torsion such as @phi-5, in its order; None for what is none. Raises as
    select."""
    word = text.strip()
    if not word.startswith("@") or " " in word:
        return None
    place = shift + text.index("@")
    return _Reader(text, system, 0, text if whole is None else whole).torsion(_Word(word, place))


class _Reader:
    """Reads one selection by recursive descent."""

    def __init__(self, text: str, system: System, shift: int, whole: str) -> None:
        self._words = [_Word(m[1], m.start(1) + shift) for m in _TOKEN.finditer(text)]
        self._end = _Word("", shift + len(text.rstrip()))
        self._next, self._system, self._whole = 0, system, whole

    def read(self) -> Mask:
        found = self._either()
        word = self._peek()
        if word.text:
            near = nearest(word.text, _OPERATORS[:2])
            raise self._wrong(word, f"'and' or 'or' must come before {word.text!r}{near}")
        if not found.any():
            raise self._wrong(_Word("", self._start()), "there is no such atom")
        return found

    def _start(self) -> int:
        return self._words[0].place if self._words else self._end.place

    def _peek(self) -> _Word:
        return self._words[self._next] if self._next < len(self._words) else self._end

    def _take(self) -> _Word:
        word = self._peek()
        self._next += 1
        return word

    def _either(self) -> Mask:
        found = self._both()
        while self._peek().text == "or":
            self._take()
            found = found | self._both()
        return found

    def _both(self) -> Mask:
        found = self._one()
        while self._peek().text == "and":
            self._take()
            found = found & self._one()
        return found

    def _one(self) -> Mask:
        negated = False
        while self._peek().text == "not":
            self._take()
            negated = not negated
        found = self._primary()
        return ~found if negated else found

    def _primary(self) -> Mask:
        word = self._take()
        if word.text == "(":
            return self._bracketed(word)
        if word.text == "all":
            return np.ones(self._system.n_atoms, bool)
        if word.text in _GROUPS:
            return np.isin(self._system.named.resname, _GROUPS[word.text])
        if word.text in _TEXTS:
            return self._texts(word)
        if word.text in _NUMBERS:
            return self._numbers(word)
        if word.text.startswith("@"):
            found = np.zeros(self._system.n_atoms, bool)
            found[list(self.torsion(word))] = True
            return found
        if not word.text or word.text == ")":
            raise self._wrong(word, "something is missing here")
        near = nearest(word.text, KEYWORDS)
        raise self._wrong(word, f"nothing is selected by {word.text!r}{near}")

    def _bracketed(self, opened: _Word) -> Mask:
        # Each bracket is a few calls deep.
        if sum(word.text == "(" for word in self._words) > 50:
            raise self._wrong(opened, "there are more than 50 brackets")
        found = self._either()
        word = self._take()
        if word.text != ")":
            raise self._wrong(word, "a ')' is missing here")
        return found

    def _values(self, of: _Word) -> Iterator[_Word]:
        """The words after a keyword up to the next; one at least."""
        first = self._next
        while self._peek().text not in ("", "(", ")", *KEYWORDS):
            yield self._take()
        if self._next == first:
            raise self._wrong(self._peek(), f"{of.text!r} needs a value here")

    def _texts(self, keyword: _Word) -> Mask:
        there: NDArray[np.str_] = getattr(self._system.named, _TEXTS[keyword.text])
        names, inverse = np.unique(there, return_inverse=True)
        found = np.zeros(self._system.n_atoms, bool)
        for word in self._values(keyword):
            fits = _matcher(word.text)
            chosen = np.array([fits(name) for name in names.tolist()], bool)
            if not chosen.any():
                near = nearest(word.text, [name for name in names.tolist() if name])
                raise self._wrong(word, f"no atom has the {keyword.text} {word.text!r}{near}")
            found |= chosen[inverse]
        return found

    def _numbers(self, keyword: _Word) -> Mask:
        of_residue = keyword.text == "resid"
        n_atoms = self._system.n_atoms
        there = self._system.named.resid if of_residue else np.arange(n_atoms)
        found = np.zeros(n_atoms, bool)
        for word in self._values(keyword):
            match = _RANGE.fullmatch(word.text)
            if match is None:
                raise self._wrong(word, f"{word.text!r} is no number, and no range as 1-9")
            first, last = int(match[1]), int(match[2] or match[1])
            chosen = (there >= first) & (there <= last)
            if not chosen.any() or (not of_residue and last >= n_atoms):
                what = "residue" if of_residue else "atom"
                has = f"they go from {there.min()} to {there.max()}" if n_atoms else "none are"
                raise self._wrong(word, f"there is no {what} {word.text}: {has}")
            found |= chosen
        return found

    def torsion(self, word: _Word) -> tuple[int, ...]:
        """The atoms of @phi-5. Raises SelectionTextError."""
        match = _TORSION.fullmatch(word.text)
        if match is None or match[1] not in TORSIONS:
            kind = word.text[1:].partition("-")[0]
            near = nearest(f"@{kind}-", [f"@{each}-" for each in TORSIONS])
            raise self._wrong(word, f"{word.text!r} is none of {_listed()}{near}")
        named, number = self._system.named, int(match[3])
        chosen = named.resid == number
        if match[2] is not None:
            chosen &= named.chain == match[2]
        residues = np.unique(named.residue[chosen]).tolist()
        if not residues:
            there = f"they go from {named.resid.min()} to {named.resid.max()}"
            raise self._wrong(word, f"there is no residue {number} to {word.text!r}: {there}")
        found = [atoms for each in residues if (atoms := self._of(match[1], each)) is not None]
        if len(found) > 1:
            chains = np.unique(named.chain[chosen]).tolist()
            why = f"there are {len(found)} of these; name a chain, as in @{match[1]}-"
            raise self._wrong(word, f"{why}{chains[0]}:{number}")
        if not found:
            name = named.resname[chosen][0]
            raise self._wrong(word, f"residue {number}, {name}, has no {match[1]}")
        return found[0]

    def _of(self, kind: str, residue: int) -> tuple[int, ...] | None:
        """The atoms of a torsion of a residue, counted from 0; None where it has none."""
        named, found = self._system.named, []
        (chain,) = np.unique(named.chain[named.residue == residue])[:1]
        for names, step in TORSIONS[kind]:
            inside = (named.residue == residue + step) & (named.chain == chain)
            atoms = np.flatnonzero(inside & np.isin(named.name, names))
            if not len(atoms):
                return None
            found.append(int(atoms[0]))
        # Residues may follow each other where a chain is broken.
        bonded = all(named.are_bonded(*pair) for pair in itertools.pairwise(found))
        return tuple(found) if bonded else None

    def _wrong(self, word: _Word, why: str) -> SelectionTextError:
        return SelectionTextError(text=self._whole, why=why, place=word.place + 1)


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a name is that which is asked for; only * is no letter."""
    if "*" not in pattern:
        return pattern.__eq__
    literal = re.sub(r"([\[\]?])", r"[\1]", pattern)
    return lambda name: fnmatchcase(name, literal)


def _listed() -> str:
    return ", ".join(f"@{each}-N" for each in TORSIONS)
