"""One error for everything that cannot be said."""

import pytest

from simmerge_hub.errors import RecipeError
from simmerge_hub.recipe.mergekit.refusals import Refusals


def test_one_error_with_every_key() -> None:
    refusals = Refusals("m.yml has what cannot be done here")
    refusals.settle()
    refusals.add("tokens", "leave it out")
    refusals.add("dtype int8", "one of float32, float16")
    refusals.add("tokens", "advice that comes second")
    with pytest.raises(RecipeError) as caught:
        refusals.settle()
    assert str(caught.value) == "m.yml has what cannot be done here: tokens, dtype int8"
    assert caught.value.hint == "tokens: leave it out; dtype int8: one of float32, float16"
