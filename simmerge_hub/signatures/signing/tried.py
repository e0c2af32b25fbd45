"""What merges that were made and run did, cached by their recipe: nothing is tried twice."""

from simmerge_hub.signatures.probing.dosing.response import Cross
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing import cache
from simmerge_hub.signatures.signing.artifact import dump_part, read_cross, read_sketch


def find_reading(recipe: str, answers: str, dtype: str) -> Cross | None:
    """What the merge of a recipe makes of an expert's answers, if it is known.

    Args:
        recipe: digest of the recipe and of the code that makes it.
        answers: digest of prompts and answers (`OwnAnswers.digest`).
        dtype: what was computed in.
    """
    return cache.read_if_sound(cache.reading_path(recipe, answers, dtype), read_cross)


def keep_reading(recipe: str, answers: str, dtype: str, reading: Cross) -> None:
    """Cache what the merge of a recipe makes of an expert's answers."""
    cache.keep(cache.reading_path(recipe, answers, dtype), *dump_part(reading))


def find_sketch(recipe: str, probes: str, dtype: str) -> Sketch | None:
    """What the merge of a recipe did on a probe set, if it is known."""
    path = cache.sketch_path(f"recipe {recipe}", probes, dtype)
    return cache.read_if_sound(path, read_sketch)


def keep_sketch(recipe: str, probes: str, dtype: str, sketch: Sketch) -> None:
    """Cache what the merge of a recipe did on a probe set."""
    cache.keep(cache.sketch_path(f"recipe {recipe}", probes, dtype), *dump_part(sketch))
