"""Rows of a table that knows the first tokens only stay where they are, or nothing is merged."""

import pytest
import torch

from simmerge_hub.errors import AlignmentError
from simmerge_hub.weights.tokens.tables import refuse_moved_rows


@pytest.mark.parametrize("origins", [[0, 1, 2], [0, -1, 2, 7], [0, 1, -1, 2], [0, 1, 2, 2]])
def test_rows_that_stay_or_have_no_token(origins: list[int]) -> None:
    refuse_moved_rows("org/a", {"table": 3}, torch.tensor(origins))


@pytest.mark.parametrize(
    ("origins", "seen"),
    [([1, 0, 2], "row 1 would have to become row 0"), ([0, 1, 3], "row 3 would .* become row 2")],
)
def test_rows_that_would_move(origins: list[int], seen: str) -> None:
    """The last row counts too."""
    with pytest.raises(AlignmentError, match=f"table of org/a has rows for its first 3 .*{seen}"):
        refuse_moved_rows("org/a", {"table": 3}, torch.tensor(origins))
