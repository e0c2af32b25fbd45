"""Really making merges, one at a time, to see what they do on the probes.

Nothing is evaluated: there are no labels. Each merge is written to a temporary folder, run over the
tasks' prompts and the experts' own answers, and deleted; the last one only if it is not chosen.
What it did is cached by its recipe, so that nothing is tried twice, and what was interrupted goes
on.
"""

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from simmerge_hub.errors import OutputError
from simmerge_hub.hub.files.headers import BITS
from simmerge_hub.hub.resolve import Checkpoint, resolve
from simmerge_hub.planning.evidence import Evidence, prompts_by_model
from simmerge_hub.planning.inputs import Inputs
from simmerge_hub.planning.tree import Tree, recipe_of
from simmerge_hub.recipe import Recipe
from simmerge_hub.signatures.probing.dosing.response import Cross
from simmerge_hub.signatures.probing.dosing.trial import OwnAnswers, read_answers_of_experts
from simmerge_hub.signatures.probing.probe import ProbeSet, run_probes
from simmerge_hub.signatures.probing.sketch import Sketch
from simmerge_hub.signatures.signing import tried
from simmerge_hub.units import spell_bytes
from simmerge_hub.weights.shapes import OUTPUT_CODES, common_dtype
from simmerge_hub.weights.writing import spare

TRIAL_RESERVE = 2**28
"""Bytes of the disk of temporary files, which is others' too, that stay free beside a merge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a merge did: task -> what it makes of the expert's answers, and its sketch.

    Of answers that it reads as other tokens the reading is empty.
    """

    readings: Mapping[str, Cross]
    sketches: Mapping[str, Sketch] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where merges of some models are made and run.

    Args:
        inputs: the models.
        evidence: the probes, and the signatures, whose dtype is computed in.
        answers: task -> its expert's own answers.
        sketched: whether merges of more than two models are sketched on the probes as well.
    """

    inputs: Inputs
    evidence: Evidence
    answers: Mapping[str, OwnAnswers]
    sketched: bool = False

    @property
    def dtype(self) -> str:
        """What merges compute in, as the models' signatures do."""
        return self.evidence.signatures[self.inputs.names[0]].settings.dtype

    @property
    def size(self) -> int:
        """Bytes of a merge on the disk."""
        whole = self.inputs.base or self.inputs.models[0]
        entries = sum(header.entries for header in whole.tensors.values())
        return entries * BITS[OUTPUT_CODES[common_dtype(whole)]] // 8

    def recipe(self, tree: Tree) -> Recipe:
        """The recipe that makes a tree's merge."""
        inputs = self.inputs
        prompts = prompts_by_model(inputs, self.evidence)
        return recipe_of(tree, inputs.models, inputs.base, prompts)

    def identity(self, tree: Tree) -> str:
        """What the tree's merge is known by: its recipe, and the code that makes it."""
        from simmerge_hub.merger.report import identify

        recipe = self.recipe(tree)
        return identify(recipe, recipe.fingerprint)

    def find(self, tree: Tree) -> Run | None:
        """What the tree's merge did, if it was run before."""
        recipe = self.identity(tree)
        readings = {
            task: tried.find_reading(recipe, own.digest, self.dtype)
            for task, own in self.answers.items()
        }
        sketches = {
            probes.task: tried.find_sketch(recipe, probes.digest, self.dtype)
            for probes in self._sketched(tree)
        }
        if any(part is None for part in (*readings.values(), *sketches.values())):
            return None
        return Run(
            readings={task: each for task, each in readings.items() if each},
            sketches={task: each for task, each in sketches.items() if each},
        )

    def make(self, tree: Tree, *, keep: bool) -> Run:
        """Make the tree's merge and run it; nothing is left behind but what it did.

        Args:
            tree: which.
            keep: leave the merge itself as well, for a `merge` of it.

        Raises:
            SimmergeError: as `merge` and `run_probes` do.
        """
        from simmerge_hub.merger import merge

        identity = self.identity(tree)
        with TemporaryDirectory(prefix="simmerge-") as folder:
            made = Path(folder) / "merge"
            merge(self.recipe(tree), made, durable=False, spare=keep)
            merged = resolve(str(made))
            run = Run(readings=self._read(merged), sketches=self._sketch(merged, tree))
            self._keep(identity, run)
            if keep:
                spare.keep(made, identity)
        return run

    def leave(self, chosen: Tree) -> None:
        """Delete the merge that was kept unless it is the chosen one."""
        spare.drop(but=self.identity(chosen))

    def check_disk(self) -> None:
        """OutputError unless there is room for one merge."""
        place = tempfile.gettempdir()
        free = shutil.disk_usage(place).free
        if free < self.size + TRIAL_RESERVE:
            raise OutputError(
                f"a merge that is tried takes {spell_bytes(self.size)} in {place}, and "
                f"{spell_bytes(free)} are left there",
                hint="free some space, or set TMPDIR to a folder on another disk",
            )

    def _sketched(self, tree: Tree) -> Iterable[ProbeSet]:
        more = self.sketched and len(tree.models) > 2
        return self.evidence.probes.values() if more else ()

    def _read(self, merged: Checkpoint) -> dict[str, Cross]:
        return read_answers_of_experts(merged, self.answers, dtype=self.dtype)

    def _sketch(self, merged: Checkpoint, tree: Tree) -> Mapping[str, Sketch]:
        probes = tuple(self._sketched(tree))
        return run_probes(merged, None, probes, dtype=self.dtype).sketches if probes else {}

    def _keep(self, recipe: str, run: Run) -> None:
        for task, reading in run.readings.items():
            tried.keep_reading(recipe, self.answers[task].digest, self.dtype, reading)
        for task, sketch in run.sketches.items():
            probes = self.evidence.probes[task].digest
            tried.keep_sketch(recipe, probes, self.dtype, sketch)
