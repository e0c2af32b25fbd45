"""Names in a message."""

from simmerge_hub.names import join_names, list_first, suggest


def test_names_are_joined() -> None:
    assert [join_names(names) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


def test_the_first_of_many() -> None:
    assert list_first(["a", "b", "c"]) == "a, b, c"
    assert list_first(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert list_first(["a", "b", "c"], 1) == "a and 2 more"


def test_what_may_have_been_meant() -> None:
    known = ("slerp", "nuslerp", "ties")
    assert suggest("slurp", known) == "did you mean slerp or nuslerp?"
    assert suggest("slurp", ["linear"]) == suggest("slurp", []) == ""
