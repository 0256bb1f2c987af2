"""What a user means by a hash, its first digits, a tag or "default"; and what was meant by a word
that is none of these."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from wepystore.errors import way_out
from wepystore.store import names
from wepystore.store.errors import (
    AmbiguousHashError,
    MalformedHashError,
    MissingError,
    SeveralHashesError,
    UnknownHashError,
    WrongKindError,
)
from wepystore.store.names import KINDS, ONE
from wepystore.store.store import DEFAULTS, Store

# The word for what refs/default-… hold.
DEFAULT = "default"
_FEWEST = 4


def resolve(
    store: Store, text: str, kinds: Sequence[str] = ("snapshots", "configs")
) -> tuple[str, str]:
    """The (kind, md5) that a user means by a hash, a prefix of at least 4 digits, a tag or
    "default".

    Raises UnknownHashError, AmbiguousHashError, MalformedHashError, SeveralHashesError,
    WrongKindError.
    """
    if text == DEFAULT:
        return _default(store, kinds)
    if not names.is_hex(text):
        return _tagged(store, text, kinds)
    if len(text) < _FEWEST:
        raise MalformedHashError(text=text, why=f"give at least {_FEWEST} digits of it")
    if len(text) > 32:
        raise MalformedHashError(text=text, why=f"it has {len(text)} digits; a hash has 32")
    found = [(kind, md5) for kind in kinds for md5 in store.hashes(kind, text)]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(f"{ONE[kind]} {md5}" for kind, md5 in found[:4])
        if len(found) > 4:
            shown += ", …"
        raise AmbiguousHashError(text=text, count=len(found), candidates=shown)
    for kind in KINDS:
        if kind not in kinds and store.hashes(kind, text):
            raise WrongKindError(text=text, found=ONE[kind], expected=one_of(kinds))
    raise _unknown(store, text, kinds)


def one_of(kinds: Sequence[str]) -> str:
    """The kinds as in "a snapshot or configuration"."""
    return " or ".join(ONE[kind] for kind in kinds)


def _default(store: Store, kinds: Sequence[str]) -> tuple[str, str]:
    for kind in kinds:
        name = DEFAULTS.get(kind)
        md5 = store.ref(name) if name else None
        if md5 is not None:
            if not os.path.lexists(store.file(kind, md5)):
                raise MissingError(file=store.file(kind, md5), needed=f" for refs/{name}")
            return kind, md5
    raise UnknownHashError(
        kinds=one_of(kinds),
        text=DEFAULT,
        path=store.path,
        hint=f"no default is set in it; '{way_out('to_set_a_default')}' sets one",
    )


def _tagged(store: Store, text: str, kinds: Sequence[str]) -> tuple[str, str]:
    if not names.is_tag(text):
        raise _malformed(text)
    md5 = store.ref("tags/" + text)
    if md5 is None:
        if len(text) >= 28 and sum(map(names.is_hex, text)) >= len(text) - 4:
            raise MalformedHashError(text=text, why=names.hash_fault(text))
        raise _unknown(store, text, kinds)
    for kind in kinds:
        if os.path.lexists(store.file(kind, md5)):
            return kind, md5
    for kind in KINDS:
        if os.path.lexists(store.file(kind, md5)):
            raise WrongKindError(text=text, found=ONE[kind], expected=one_of(kinds))
    raise MissingError(file=store.file(kinds[0], md5), needed=f" for the tag {text!r}")


def _malformed(text: str) -> MalformedHashError | SeveralHashesError:
    words = [word for word in re.split(r"[\s,]+", text) if word]
    if len(words) > 1 and all(names.is_hex(word) and len(word) >= _FEWEST for word in words):
        # What $(wepy ls snapshots) gives in quotes, or START,END.
        shown = ", ".join(f"{word[:8]}…" for word in words[:3])
        more = ", …" if len(words) > 3 else ""
        return SeveralHashesError(count=len(words), shown=shown + more)
    if len(text) <= 40 and text.lower() != text and names.is_hex(text.lower()):
        why = "the digits of a hash are lower-case"
    else:
        why = names.hash_fault(text) if text else "it is empty"
    return MalformedHashError(text=text, why=why)


def _unknown(store: Store, text: str, kinds: Sequence[str]) -> UnknownHashError:
    known = sorted({md5 for kind in kinds for md5 in store.hashes(kind)})
    words = store.tag_names()
    if any(kind in DEFAULTS for kind in kinds):
        words.append(DEFAULT)
    near = _nearest(text, known, words)
    if near:
        hint = f"did you mean {near}?"
    elif not known:
        hint = "it holds none"
    else:
        listing = next((kind for kind in kinds if kind != "objects"), "snapshots")
        hint = f"'{way_out('to_list', kind=listing, path=store.path)}' lists what there is"
    return UnknownHashError(kinds=one_of(kinds), text=text, path=store.path, hint=hint)


def _nearest(text: str, hashes: Sequence[str], words: Sequence[str]) -> str | None:
    """A tag, "default" or hash that somebody may have meant."""
    import difflib

    md5 = _nearest_hash(text, hashes)
    if md5 is not None:
        return md5
    lower = {word.lower(): word for word in words}
    close = difflib.get_close_matches(text.lower(), lower, 1, 0.6)
    begun = [word for key, word in lower.items() if key.startswith(text.lower())]
    return lower[close[0]] if close else begun[0] if len(begun) == 1 else None


def _nearest_hash(text: str, hashes: Sequence[str]) -> str | None:
    import difflib

    # Letters taken for digits, as l for 1 and o for 0, or one that slipped in.
    digits = sum(map(names.is_hex, text))
    if len(text) < 6 or not (names.is_hex(text) or (len(text) >= 8 and digits >= len(text) - 2)):
        return None
    for md5 in hashes:
        # A typo in one digit, or the wrong end of the right line copied.
        same = sum(a == b for a, b in zip(md5, text, strict=False))
        if same >= len(text) - 2 or md5.endswith(text):
            return md5
    close = difflib.get_close_matches(text, hashes[:2000], 1, 0.9) if len(text) > 16 else []
    return close[0] if close else None
