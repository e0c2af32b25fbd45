"""Results are kept as long as their arguments, and no longer."""

import gc

from simmerge_hub.signatures.measures.memo import memoize


class Thing:
    pass


def test_once_for_each_argument_list():
    calls = []

    @memoize
    def join(*things):
        """Join."""
        calls.append(len(things))
        return len(calls)

    a, b = Thing(), Thing()
    assert [join(a), join(b), join(a)] == [1, 2, 1]
    assert join.__doc__ == "Join."

    @memoize
    def pair(x, y):
        calls.append("pair")
        return (len(calls),)

    assert pair(a, b) is pair(a, b)
    assert pair(a, b) is not pair(b, a)


def test_what_is_gone_is_forgotten():
    kept = []

    @memoize
    def make(thing):
        kept.append(1)
        return 5

    thing = Thing()
    make(thing)
    del thing
    gc.collect()
    make(Thing())
    assert kept == [1, 1]
