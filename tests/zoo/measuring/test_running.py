"""A pair merged in memory, as the zoo measures it, is the pair merged from files."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from simmerge_hub.merger import merge
from simmerge_hub.operators import Arm, arm
from simmerge_hub.recipe import Recipe, Source, Step
from simmerge_hub.recipe.calibration import Calibration, Prompts
from simmerge_hub.zoo.manifest import load_manifest, load_model
from simmerge_hub.zoo.measuring.members import ANSWER_TOKENS, changes, feed_own_probes, weights_of
from simmerge_hub.zoo.measuring.running import Bench, merge_pair, merges_as_it_runs
from simmerge_hub.zoo.real.codec import codec_for

FOLDER = Path(__file__).parents[3] / "simmerge_hub" / "zoo" / "nano"
NAMES = ("math", "instruct")
ARMS = [
    arm("regmean", alpha=0.98, inputs="merge", weights=(0.7, 0.3)),
    arm("regmean", alpha=0.9),
    arm("task_arithmetic", scale=0.7),
]
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.mark.parametrize("chosen", ARMS, ids=lambda each: each.label)
def test_in_memory_it_is_the_merge_from_files(chosen: Arm, tmp_path: Path) -> None:
    manifest = load_manifest(FOLDER)
    scratch = load_model(manifest, "base")
    origin = weights_of(scratch)
    runners = [load_model(manifest, "base") for _ in NAMES]
    codec = codec_for(manifest, "base")
    merged = merge_pair(
        Bench(scratch=scratch, base=origin, runners=runners),
        chosen,
        {name: changes(manifest, name, origin) for name in NAMES},
        [feed_own_probes(manifest, name, codec) for name in NAMES],
    )
    recipe = Recipe(
        base=Source(name="base", folder=manifest.path("base")),
        models=tuple(Source(name=name, folder=manifest.path(name)) for name in NAMES),
        steps=(Step(operator=chosen.operator, models=NAMES, parameters=chosen.parameters),),
        dtype="bfloat16",
        calibration=Calibration(
            prompts={n: (Prompts(source=str(manifest.probes(n))),) for n in NAMES},
            answers=ANSWER_TOKENS,
        ),
    )
    merge(recipe, tmp_path / "merged")
    stored = load_file(tmp_path / "merged" / "model.safetensors")
    in_memory = weights_of(merged)
    assert in_memory.keys() <= stored.keys()
    for name, weight in in_memory.items():
        scale = float(weight.abs().max())
        torch.testing.assert_close(
            stored[name].float(), weight.float(), rtol=0.01, atol=0.004 * scale, msg=name
        )


def test_which_arms_run_while_they_merge() -> None:
    assert [merges_as_it_runs(each) for each in ARMS] == [True, False, False]
