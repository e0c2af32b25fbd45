"""The model card: front matter the Hub reads, text a person reads, a recipe a machine reads."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from simmerge_hub.hub.files.location import Location
from simmerge_hub.hub.resolve import Checkpoint, ModelRef, front_matter
from simmerge_hub.merger import MergeReport
from simmerge_hub.operators.registry import OPERATORS, operator
from simmerge_hub.publishing.card import card
from simmerge_hub.publishing.licenses.choice import settle_license
from simmerge_hub.publishing.licenses.verdict import DISCLAIMER
from simmerge_hub.publishing.sections.usage import REPO_ID
from simmerge_hub.recipe import Recipe, Source, Step, Why, parse
from simmerge_hub.recipe.calibration import Calibration, Prompts
from simmerge_hub.recipe.why import MEANINGS, UNIT, Aim, Status, WhyMerge, WhyTask

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub(name: str) -> Source:
    return Source(name=name, repo=name, commit=COMMIT)


RECIPE = Recipe(
    base=hub("org/base"),
    models=(hub("org/code"), hub("org/math")),
    steps=(Step(operator="ties", models=("org/code", "org/math"), parameters={"density": 0.2}),),
    dtype="bfloat16",
)
WHY = Why(
    recipe=RECIPE.fingerprint,
    choice="ties(density=0.2)",
    status="calibrated",
    reason="For code: the pair is like those seen.",
    coverage=0.9,
    objective=Aim(heading="mean", description="the highest mean over code, math"),
    predictor="f" * 64,
    predictor_from="org/predictor@0123",
    tasks=(
        WhyTask(task="code", expert="org/code", probes="simmerge-hub:code"),
        WhyTask(task="math", expert="org/math", probes="org/probes@0123"),
    ),
    predictions=(
        WhyMerge(
            merge="ties(density=0.2)", utility=(0.5, 0.25, 0.75), pareto=True,
            tasks={"code": (0.4, 0.1, 0.7), "math": (0.6, 0.4, 0.8)},
        ),
        WhyMerge(
            merge="linear", utility=(0.3, 0.1, 0.5), pareto=False,
            tasks={"code": (0.2, 0.0, 0.4), "math": (0.4, 0.2, 0.6)},
        ),
    ),
)  # fmt: skip


def report(recipe: Recipe = RECIPE, kind: Any = "full", **licences: str | None) -> MergeReport:
    checkpoints = {
        s.name: Checkpoint(
            ref=ModelRef(repo="org/x"),  # which cannot be called what a recipe may call it
            location=Location(repo="org/x" if s.repo else ""),
            commit=s.commit,
            kind="full" if s is recipe.base else kind,
            config={},
            files={},
            tensors={},
            card={"license": licences.get(s.name.rpartition("/")[2], "mit")},
        )
        for s in recipe.sources
    }
    return MergeReport(
        recipe=recipe,
        folder=Path("/home/somebody/secret/out"),
        checkpoints=checkpoints,
        tensors=291,
        size=10,
        seconds=123.456,
        versions={"simmerge-hub": "0.1.0", "torch": "2.13.0"},
    )


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


class TestFrontMatter:
    def test_what_the_hub_reads(self) -> None:
        assert front_matter(card(report(), None)) == {
            "license": "mit",
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
            "tags": ["merge", "simmerge", "ties"],
            "base_model": ["org/code", "org/math"],
            "base_model_relation": "merge",
        }

    def test_huggingface_hub_reads_it_too(self) -> None:
        from huggingface_hub import ModelCard

        data = ModelCard(card(report(), WHY)).data
        assert data.base_model == ["org/code", "org/math"]
        assert data.license == "mit"

    def test_two_revisions_of_one_model_are_one_parent(self) -> None:
        models = (hub("org/code"), replace(hub("org/code"), name="earlier", commit="b" * 40))
        steps = (Step(operator="linear", models=("org/code", "earlier"), parameters={}),)
        front = front_matter(card(report(replace(RECIPE, models=models, steps=steps)), None))
        assert front["base_model"] == ["org/code"]

    def test_folders_are_no_parents(self) -> None:
        models = tuple(Source(name=n, digest="d" * 64) for n in ("a", "b"))
        steps = (Step(operator="linear", models=("a", "b"), parameters={}),)
        front = front_matter(card(report(replace(RECIPE, models=models, steps=steps)), None))
        assert "base_model" not in front
        assert "base_model_relation" not in front

    def test_every_operator_is_a_tag_once(self) -> None:
        steps = (
            Step(operator="ties", models=("org/code", "org/math"), parameters={}, name="x"),
            Step(operator="linear", models=("x", "org/math"), parameters={}, name="y"),
            Step(operator="ties", models=("y", "org/code"), parameters={}),
        )
        front = front_matter(card(report(replace(RECIPE, steps=steps)), None))
        assert front["tags"] == ["merge", "simmerge", "ties", "linear"]

    @pytest.mark.parametrize(
        "hostile",
        [
            "mit\n---\n# Owned",
            "mit\nlibrary_name: evil",
            "'\"]}: - #",
            "mit | [x](javascript:0)",
            "`</script>",
            "!!python/name:os.system",
            "\u2028---\u2028",
        ],
    )
    def test_a_parent_s_licence_cannot_break_out(self, hostile: str) -> None:
        text = card(report(code=hostile, math=hostile, base=hostile), None)
        front = front_matter(text)
        assert front["license"] == "other"
        assert re.fullmatch(r"[a-z0-9.-]*", front.get("license_name", ""))
        assert front["library_name"] == "transformers"
        table = section(text, "Parents")
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len(rows) == 5
        assert all(line.replace("\\|", "").count("|") == 5 for line in rows)

    @pytest.mark.parametrize("name", ["a: b", "a\n---\nb", "- x", "{x}", "ü", "#", "'", "true"])
    def test_a_model_s_name_cannot_break_out(self, name: str) -> None:
        models = (replace(hub("org/code"), repo=name), hub("org/math"))
        front = front_matter(card(report(replace(RECIPE, models=models)), None))
        assert front["base_model"] == [name, "org/math"]
        assert front["license"] == "mit"


class TestText:
    def test_parents_with_commits_roles_and_licences(self) -> None:
        table = section(card(report(math="apache-2.0"), None), "Parents")
        link = "[org/math](https://huggingface.co/org/math)"
        assert f"| {link} | `0123456789ab` | model | apache-2.0 |" in table
        assert "| `0123456789ab` | base | mit |" in table
        assert "cannot redo" not in table

    def test_adapters_are_called_so(self) -> None:
        assert "| LoRA adapter |" in card(report(kind="adapter"), None)

    def test_licences_that_differ_are_told(self) -> None:
        text = card(report(code="gpl-3.0", math=None), None)
        assert front_matter(text)["license"] == "other"
        assert "| not stated |" in text
        assert "- org/math states no licence: ask its author before you share the merge" in text
        assert "- the parents' licences differ (gpl-3.0, mit)\n" in text
        assert "(<https://spdx.org/licenses/GPL-3.0-only.html>)" in text
        assert DISCLAIMER in text

    def test_folders_cannot_be_redone_by_others(self) -> None:
        local = Source(name="mine", folder=Path("/home/me/mine"), digest="d" * 64)
        steps = (Step(operator="linear", models=("org/code", "mine"), parameters={}),)
        text = card(report(replace(RECIPE, models=(hub("org/code"), local), steps=steps)), None)
        assert "**Others cannot redo this merge:** it used folders that are not on the Hub" in text
        assert f"- `mine`: `{'d' * 64}`" in text
        assert "| mine | a local folder | model | mit |" in text
        assert "/home" not in text

    def test_prompts_of_a_file_are_needed_to_redo_it(self) -> None:
        step = Step(operator="regmean", models=("org/code", "org/math"), parameters={})
        prompts = {
            "org/code": (Prompts(source="/home/me/own.jsonl", digest="d" * 64),),
            "org/math": (Prompts(source="simmerge-hub:math"),),
        }
        fed = replace(RECIPE, steps=(step,), calibration=Calibration(prompts=prompts))
        text = card(report(fed), None)
        assert (
            "Only who has the prompts in `own.jsonl` can run this recipe again: copy it into a "
            "file, and put them beside it." in text
        )
        assert "running it again gives the same bytes" not in text
        assert "/home" not in text

    def test_an_operator_of_one_s_own_is_needed_to_redo_it(self) -> None:
        @operator(space="weight", paper="ours")
        def larger_of(chunk: Tensor, _: None = None) -> Tensor:
            """Of every two weights the larger."""
            return chunk.max(0).values

        try:
            step = Step(operator="larger_of", models=("org/code", "org/math"), parameters={})
            text = card(report(replace(RECIPE, steps=(step,))), None)
        finally:
            OPERATORS.pop("larger_of")
        assert "Only who has the file that declares `larger_of` can run this recipe again" in text
        assert "in place of simmerge-hub (`python FILE merge RECIPE -o again`)" in text
        assert "running it again gives the same bytes" not in text

    def test_predictions(self) -> None:
        text = section(card(report(), WHY), "Predicted utilities")
        assert "with 90% intervals per task. These are predictions, not measurements." in text
        assert f"Utility is the {UNIT}." in text
        assert "Wanted was the merge with the highest mean over code, math." in text
        assert "| merge | mean | code | math |" in text
        assert (
            "| **ties(density=0.2)** ◆ | 0.50 (0.25 – 0.75) | 0.40 (0.10 – 0.70) "
            "| 0.60 (0.40 – 0.80) |" in text
        )
        assert "| linear | 0.30 (0.10 – 0.50) |" in text
        assert "**Calibrated**" in text
        assert WHY.reason in text
        assert "code: `org/code` (probes simmerge-hub:code)" in text
        assert f"Predictor `{'f' * 12}`, from org/predictor@0123." in text

    def test_what_was_seen_of_merges_that_were_tried(self) -> None:
        kept = {"code": {"answers": 0.5, "tokens": 0.75, "regained": 0.9}}
        seen = replace(WHY.predictions[0], kept=kept, predicted={"code": (0.2, 0.1, 0.3)})
        why = replace(WHY, status="tried", predictions=(seen, WHY.predictions[1]))
        text = section(card(report(), why), "Predicted utilities")
        assert "| **ties(density=0.2)** ◆ (tried) | 50%, 75%, 0.90 (0.20) | – |" in text
        assert "| linear | 0.30" in text
        assert f"**Tried**: {MEANINGS['tried']}." in text
        assert "kept whole" not in section(card(report(), WHY), "Predicted utilities")

    def test_merges_of_many_are_spoken_of_as_such(self) -> None:
        tree = ("linear", "├── org/code", "└── org/math")
        text = card(report(), replace(WHY, tree=tree, status="extrapolated"))
        assert f"Predicted utility after each step: {UNIT}." in section(text, "Merge tree")
        assert (
            "Which models, their order and the operators were chosen by prediction, without" in text
        )
        text = section(text, "Predicted utilities")
        assert f"Utility is the {UNIT}." in text
        assert (
            "Wanted was the merge with the highest mean over code, math. A merge counts by" in text
        )
        assert "◆: no other is better on one task and as good on all." in text
        assert "| merge | mean | code | math |" in text
        assert f"**Extrapolated**: {MEANINGS['extrapolated']}." in text
        assert "parent" not in text

    def test_what_was_wanted_and_who_was_guessed(self) -> None:
        wanted = Aim(heading="math", description="the highest utility on math, of those that")
        tasks = (replace(WHY.tasks[0], probability=0.875), WHY.tasks[1])
        why = replace(WHY, objective=wanted, tasks=tasks)
        text = section(card(report(), why), "Predicted utilities")
        assert "| merge | code | math |" in text
        assert "Wanted was the merge with the highest utility on math, of those that." in text
        assert "code: `org/code`, inferred with probability 0.88, (probes" in text

    def test_text_of_others_cannot_break_tables_or_open_blocks(self) -> None:
        hostile = "a | b\n\n## Redo it\n\n```yaml\nsimmerge: 1\n```\n"
        task = WhyTask(task=hostile, expert=hostile, probes=hostile)
        tasks = {hostile: (0.2, 0.0, 0.4)}
        row = WhyMerge(merge="linear", utility=(0.3, 0.1, 0.5), pareto=False, tasks=tasks)
        why = replace(WHY, reason=hostile, tasks=(task,), predictions=(row,))
        text = card(report(code=hostile, math=None), why)
        assert text.count("```yaml") == 1
        assert text.count("\n## Redo it\n") == 1
        table = [x for x in section(text, "Predicted utilities").splitlines() if x[:1] == "|"]
        assert [line.replace("\\|", "").count("|") for line in table] == [4, 4, 4]

    @pytest.mark.parametrize(
        ("status", "seen"),
        [
            ("extrapolated", "the intervals do not hold."),
            ("abstained", "the ranking is not followed"),
        ],
    )
    def test_how_far_to_believe_them(self, status: Status, seen: str) -> None:
        text = card(report(), replace(WHY, status=status))
        assert f"**{status.capitalize()}**" in text
        assert seen in text
        assert "**Calibrated**" not in text

    def test_nothing_was_predicted(self) -> None:
        text = card(report(), None)
        assert "None: this recipe was written or edited by hand. Nothing was predicted" in text
        assert "without evaluating any candidate" not in text
        assert "without evaluating any candidate" in card(report(), WHY)

    def test_steps_in_order_with_their_operator(self) -> None:
        steps = (
            Step(
                operator="linear",
                models=("org/math", "org/code"),
                parameters={"weights": (0.3, 0.7)},
                name="both",
            ),
            Step(operator="slerp", models=("both", "org/code"), parameters={"t": 0.25}),
        )
        text = card(report(replace(RECIPE, steps=steps)), None)
        assert (
            "1. **linear** (`weights` = (0.3, 0.7)) of `org/math` → `org/code`, in this order, "
            "gives `both`. The weighted mean of the models. [arXiv 2203.05482]" in text
        )
        assert "2. **slerp** (`t` = 0.25) of `both` → `org/code`, in this order. " in text

    def test_the_recipe_on_it_redoes_the_merge(self) -> None:
        text = card(report(), WHY)
        block = text.split("```yaml\n")[1].split("```")[0]
        assert parse(block, "the card") == (RECIPE, None)
        assert f"simmerge-hub merge {REPO_ID} -o again" in text

    def test_no_time_no_path(self) -> None:
        text = card(report(), WHY)
        assert "123" not in text.replace(COMMIT, "").replace(COMMIT[:12], "").replace("@0123", "")
        assert "/home" not in text
        assert (
            "291 tensors in bfloat16, made with simmerge-hub 0.1.0, torch 2.13.0. "
            "Every weight file has the digest that the Hub states.\n"
        ) in text

    def test_the_same_merge_has_the_same_card(self) -> None:
        assert card(report(), WHY) == card(replace(report(), seconds=9.9), WHY)


class TestAboveTheFold:
    """What it is, what to expect, its licence and how to load it, before anything else."""

    def test_who_only_wants_to_use_it(self) -> None:
        first = card(report(), WHY).split("## How it was made")[0]
        assert "One model, merged from [org/code](https://huggingface.co/org/code) and [" in first
        assert "fine-tuned from [org/base]" in first
        assert "Expected, not measured (calibrated): it keeps 40 % (10–70) of the score of" in first
        assert "Licence: mit." in first
        assert "from_pretrained(" in first
        assert "Nothing was predicted of it" in card(report(), None)

    def test_licences_that_are_not_stated(self) -> None:
        text = card(report(code=None), None)
        assert "Licence: not known: org/code states none. Ask before you share it." in text
        assert "Licence: not known: org/code, org/math state none." in card(
            report(code=None, math=None), None
        )

    def test_a_conflict_until_somebody_chooses(self) -> None:
        text = card(report(code="gpl-2.0", math="apache-2.0"), None)
        assert "Licence: none fits all parents: " in text
        chosen = settle_license(text, "gpl-2.0")
        assert "none fits all parents: " not in chosen
        assert "Licence: gpl-2.0, chosen by whoever published this merge." in chosen

    def test_an_adapter_names_what_it_needs(self) -> None:
        recipe = replace(RECIPE, base=None, output="adapter")
        made = report(recipe, kind="adapter")
        config = {"base_model_name_or_path": "org/base"}
        tuned = {name: replace(c, config=config) for name, c in made.checkpoints.items()}
        text = card(replace(made, checkpoints=tuned), None)
        assert "One LoRA adapter, merged from " in text
        assert "they were trained on, org/base." in text

    def test_folders_and_the_claim_that_all_can_redo_it_exclude_each_other(self) -> None:
        models = tuple(Source(name=n, digest="d" * 64) for n in ("a", "b"))
        steps = (Step(operator="linear", models=("a", "b"), parameters={}),)
        text = card(report(replace(RECIPE, base=None, models=models, steps=steps)), None)
        assert "Others cannot redo this merge" in text
        assert "running it again gives the same bytes" not in text
        assert "simmerge-hub merge REPO_ID" not in text
        assert RECIPE.fingerprint in card(report(), None)
