"""What is known of a pickle that was read and not loaded, and which of it deserves a look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# What the import of a module itself counts as looking up.
THE_MODULE = "(the module)"

# Modules that reach out of the program; any part between dots counts.
_MODULES = """
os posix nt subprocess _posixsubprocess sys shutil socket _socket ssl http urllib urllib2 urllib3
requests httplib ftplib smtplib telnetlib asyncio multiprocessing ctypes _ctypes cffi mmap signal
pty importlib imp runpy code codeop pdb bdb timeit cProfile profile trace webbrowser tempfile
pathlib glob fileinput io _io commands popen2 pickle _pickle cPickle marshal shelve zipimport pip
pkgutil site venv ensurepip gc inspect sysconfig distutils setuptools paramiko threading _thread
"""

# Names that are of no use to a component and of much use to an attacker, wherever they live.
_NAMES = """
eval exec execfile compile open __import__ import_module getattr delattr globals locals vars input
breakpoint system popen spawn spawnl spawnv execv execve execvp fork remove unlink rmdir rmtree
rename chmod environ loads _unmarshal attrgetter methodcaller __subclasses__ __globals__
__builtins__ __reduce__ __getattribute__ CDLL Popen check_output check_call urlopen socket runcode
run_module run_path
"""

# In code that is brought along a name may be an attribute as well: an OpenMM `system` or a list's
# `remove` says nothing. There it is the module that tells.
_COMMON = """
system remove rename spawn compile code trace profile site input io glob http signal commands
getattr vars gc
"""

MODULES = frozenset(_MODULES.split())
NAMES = frozenset(_NAMES.split())
IN_CODE = (MODULES | NAMES) - frozenset(_COMMON.split())


class Name(NamedTuple):
    """A name that would be looked up in a module; None stands for what only loading can tell."""

    module: str | None
    name: str | None

    def __str__(self) -> str:
        return ".".join("?" if part is None else part for part in self)

    @property
    def suspicious(self) -> bool:
        """Whether it is one that a component has no use for (no proof of anything)."""
        if self.module is None or self.name is None:
            return True
        # A dotted name walks through attributes: "records.pickles" + "dill.os.system".
        parts = {*self.module.split("."), *self.name.split(".")}
        return not parts.isdisjoint(NAMES) or not parts.isdisjoint(MODULES)


class Function(NamedTuple):
    """Code that the pickle brings along: what it is called, and the names it uses."""

    name: str
    names: tuple[str, ...]
    strings: tuple[str, ...]

    @property
    def suspicious(self) -> tuple[str, ...]:
        """Those of its names that a component has no use for (no proof of anything)."""
        return tuple(name for name in self.names if name in IN_CODE)


@dataclass(frozen=True)
class Reading:
    """What is known of a pickle without loading it.

    Attributes
    ----------
    protocol : int
        0 when the pickle does not say.
    size : int
        Bytes that were given.
    steps : int
        Instructions that were read, those of nested pickles included.
    names : tuple of (Name, int)
        What would be looked up, and how often it would be called; sorted.
    counts : tuple of (str, int)
        How often there is REDUCE, BUILD, NEWOBJ, NEWOBJ_EX, OBJ, INST, EXT, PERSID.
    functions : tuple of Function
        Code that is brought along by value, in order.
    words : tuple of str
        Telling calls with the text they are given, such as "builtins.getattr('x')".
    nested : tuple of Reading
        Pickles within byte strings of this one.
    problems : tuple of str
        What could not be followed, in words.
    """

    protocol: int
    size: int
    steps: int
    names: tuple[tuple[Name, int], ...]
    counts: tuple[tuple[str, int], ...]
    functions: tuple[Function, ...]
    words: tuple[str, ...]
    nested: tuple[Reading, ...]
    problems: tuple[str, ...]

    @property
    def suspicious(self) -> tuple[str, ...]:
        """What deserves a look, in words, nested pickles included. That there is nothing proves
        nothing."""
        found = [str(name) for name, _ in self.names if name.suspicious]
        for function in self.functions:
            if function.suspicious:
                found.append(f"{function.name} uses {', '.join(function.suspicious)}")
        for inner in self.nested:
            found.extend(f"nested: {text}" for text in inner.suspicious)
        return tuple(dict.fromkeys(found))
