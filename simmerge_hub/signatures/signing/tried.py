"""What merges that were made and run did, cached by their recipe: nothing is tried twice."""

from pathlib import Path

from simmerge_hub.signatures.probing.dosing.response import Cross
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing import cache, store
from simmerge_hub.signatures.signing.artifact import dump_part, load_sketch

CROSS_ARRAYS = ("kept", "logliks")


def find_reading(recipe: str, answers: str, dtype: str) -> Cross | None:
    """What the merge of a recipe makes of an expert's answers, if it is known.

    Args:
        recipe: digest of the recipe and of the code that makes it.
        answers: digest of prompts and answers (`OwnAnswers.digest`).
        dtype: what was computed in.
    """
    return cache.read_if_sound(cache.reading_path(recipe, answers, dtype), _read_cross)


def keep_reading(recipe: str, answers: str, dtype: str, reading: Cross) -> None:
    """Cache what the merge of a recipe makes of an expert's answers."""
    arrays = {name: getattr(reading, name) for name in CROSS_ARRAYS}
    store.write(cache.use(cache.reading_path(recipe, answers, dtype)), {}, arrays)
    cache.trim()


def find_sketch(recipe: str, probes: str, dtype: str) -> Sketch | None:
    """What the merge of a recipe did on a probe set, if it is known."""
    path = cache.sketch_path(f"recipe {recipe}", probes, dtype)
    return cache.read_if_sound(path, _read_sketch)


def keep_sketch(recipe: str, probes: str, dtype: str, sketch: Sketch) -> None:
    """Cache what the merge of a recipe did on a probe set."""
    path = cache.sketch_path(f"recipe {recipe}", probes, dtype)
    store.write(cache.use(path), *dump_part(sketch))
    cache.trim()


def _read_cross(path: Path) -> Cross:
    _, arrays = store.read(path)
    return Cross(**{name: arrays[name].array() for name in CROSS_ARRAYS})


def _read_sketch(path: Path) -> Sketch:
    return load_sketch(*store.read(path), path.name)
