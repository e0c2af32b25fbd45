"""No module of these rooms imports itself through others, not even for types, or in functions."""

import grimp
import pytest


@pytest.mark.parametrize("room", ["signatures", "publishing"])
def test_there_is_no_circle(room: str) -> None:
    graph = grimp.build_graph("simmerge_hub", exclude_type_checking_imports=False, cache_dir=None)
    inside = {m for m in graph.modules if m.startswith(f"simmerge_hub.{room}")}
    imports = {m: graph.find_modules_directly_imported_by(m) & inside for m in inside}
    while free := {m for m, needed in imports.items() if not needed}:
        imports = {m: needed - free for m, needed in imports.items() if m not in free}
    assert sorted(imports) == []
