"""No module imports itself through others, not even for types or inside a function."""

import grimp
import pytest

Circles = set[frozenset[str]]

STILL_THERE: Circles = {
    frozenset({"signatures.features.context", "signatures.features.registry"}),
}
"""Circles that are yet to be broken; what is broken is taken out of this list."""


def find_circles(graph: grimp.ImportGraph) -> Circles:
    """The largest sets of modules each of which imports, directly or not, all the others."""
    sets = {
        frozenset({one, *(graph.find_upstream_modules(one) & graph.find_downstream_modules(one))})
        for one in graph.modules
    }
    return {modules for modules in sets if len(modules) > 1}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Every import of the package, at the top, inside functions and under TYPE_CHECKING."""
    return grimp.build_graph("simmerge_hub", exclude_type_checking_imports=False, cache_dir=None)


def test_there_is_no_circle(graph: grimp.ImportGraph) -> None:
    short = {frozenset(m.removeprefix("simmerge_hub.") for m in c) for c in find_circles(graph)}
    assert short == STILL_THERE


def test_imports_inside_functions_and_for_types_count(graph: grimp.ImportGraph) -> None:
    assert "simmerge_hub.planning.plan" in graph.find_modules_directly_imported_by("simmerge_hub")
    upstream = graph.find_modules_directly_imported_by("simmerge_hub.localhub")
    assert "simmerge_hub.localhub.server" in upstream


def test_a_circle_is_seen() -> None:
    made_up = grimp.ImportGraph()
    for importer, imported in (("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("e", "a")):
        made_up.add_import(importer=importer, imported=imported)
    assert find_circles(made_up) == {frozenset({"a", "b", "c"})}
