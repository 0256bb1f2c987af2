"""A user's functions may call each other."""

from __future__ import annotations

from wepystore.records.pickles import dumps, loads

SCRIPT = """
def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)
"""


def test_functions_that_call_each_other_can_be_kept() -> None:
    """Their globals lead from one to the other and back; both come along, and still work."""
    script = {"__name__": "__main__"}
    exec(SCRIPT, script)
    even = loads(dumps(script["even"]))
    assert even(10) and not even(7)
