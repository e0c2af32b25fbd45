"""Run a recipe and send its shards while they are made; two of them lie here at most.

What is sent is noted beside the journal of finished tensors, so that a run which was cut off goes
on with what is missing, as far as the store of the Hub has the rest.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from torch import Tensor

from simmerge_hub.errors import RecipeError
from simmerge_hub.hub.files.checksums import write_checksums
from simmerge_hub.hub.reference import home_path
from simmerge_hub.hub.upload.outbox import Outbox, Sent
from simmerge_hub.hub.upload.publish import Commit
from simmerge_hub.merger.activations.prompts import read_prompts
from simmerge_hub.merger.files import carry_over
from simmerge_hub.merger.layout import Layout
from simmerge_hub.merger.preflight import default_threads
from simmerge_hub.merger.report import MergeReport, Page, identify, write_texts
from simmerge_hub.merger.run import FinishTensor, prepare, report_on
from simmerge_hub.merger.work.tensors import Writing, write_tensors
from simmerge_hub.progress import Progress
from simmerge_hub.recipe import Recipe, check_recipe, fetch_all
from simmerge_hub.weights.stream import OpenFiles, Rows, open_shards_to_read
from simmerge_hub.weights.writing.partial import partial_folder
from simmerge_hub.weights.writing.shards import (
    Shard,
    clear_beside,
    write_index,
    written_digests,
)
from simmerge_hub.weights.writing.streamed import AT_ONCE, Conveyor, stream_shards

SENT_FILE = ".sent"
"""Beside the journal: what the Hub's store has, a line each."""
SAMPLE = 512
"""First bytes of a file that the Hub is told of."""


def stream(
    recipe: Recipe,
    folder: str | Path,
    *,
    begin: Callable[[Layout], Outbox],
    finish: Callable[[Outbox, MergeReport, Path], Commit],
    threads: int | None = None,
    evict: bool = False,
    notes: str = "",
    page: Page | None = None,
    progress: Progress | None = None,
) -> tuple[MergeReport, Commit]:
    """Run a recipe; nothing is left in or beside `folder` when it ends.

    Args:
        recipe: what to merge, into a model.
        folder: beside it `FOLDER.partial` holds up to two shards and the small files meanwhile.
        begin: called before the first weight byte is read; gives where the shards are sent.
        finish: makes the commit, of what was sent and of the small files in a folder.
        threads, evict, notes, page, progress: as of `merge`.

    Raises:
        SimmergeError: as `merge`; what the outbox finds is not sent again by the next run.
    """
    began = perf_counter()
    check_recipe(recipe)
    if recipe.output == "adapter":
        raise RecipeError(
            "an adapter is one small file, which is not sent in parts",
            hint="merge it into a folder and push that: --push without --stream",
        )
    checkpoints = fetch_all(recipe)
    recipe, prompts = read_prompts(recipe)
    layout, shards = prepare(recipe, checkpoints)
    outbox = begin(layout)
    again = layout.recipe.feeds_merge  # its layers are run as merged: all of them are needed
    with partial_folder(
        home_path(folder).resolve(),
        identity=identify(layout.recipe, "streamed", shards),
        size=sum(sorted(shard.size for shard in shards)[-AT_ONCE:]),
        digest=written_digests(shards),
        keep=False,
    ) as partial:
        sent = outbox.find(_read_sent(partial.folder, shards))
        clear_beside(partial.folder, shards)
        carry_over(layout, partial.folder)
        files = OpenFiles(partial.folder)
        ship = _Ship(partial.folder, outbox, sent, files)
        with (
            stream_shards(
                partial.folder,
                shards,
                sent=() if again else set(sent),
                done=() if again else partial.done,
                ship=ship,
                order="layers read again" if again else "layers" if prompts else "shards",
                stored=partial.finish,
            ) as conveyor,
            open_shards_to_read(partial.folder, shards, files) as written,
        ):
            finished = FinishTensor(
                conveyor.finish, len(conveyor.done), len(layout.entries), progress
            )
            writing = Writing(
                layout=layout,
                done=conveyor.done,
                write=conveyor.write,
                written={name: _read_early(rows, name, conveyor) for name, rows in written.items()},
                finished=finished,
                evict=evict,
                threads=threads or default_threads(layout),
                pass_on=conveyor.pass_on,
            )
            decided = write_tensors(writing, prompts)
        write_index(partial.folder, shards)
        report = report_on(layout, Path(folder), shards, began, decided)
        write_texts(report, partial.folder, notes, page)
        elsewhere = {name: each.sha256 for name, each in ship.sent.items()}
        report = replace(report, digests=write_checksums(partial.folder, elsewhere))
        commit = finish(outbox, report, partial.folder)
    return report, commit


def _read_early(rows: Rows, name: str, conveyor: Conveyor) -> Rows:
    """A tensor as it is read where it lies in a shard, or waits for one."""

    def read(low: int, high: int, out: Tensor | None = None) -> Tensor:
        early = conveyor.waiting(name)
        if early is None:
            return rows.read(low, high, out)
        part = early[low:high].float()
        return part if out is None else out.copy_(part)

    return replace(rows, read=read)


class _Ship:
    """Sends a shard, unless the store has it, and notes that it was sent."""

    def __init__(
        self, folder: Path, outbox: Outbox, sent: Mapping[str, Sent], files: OpenFiles
    ) -> None:
        self._path, self._outbox, self._files = folder / SENT_FILE, outbox, files
        self.sent = dict(sent)

    def __call__(self, shard: Shard, path: Path) -> None:
        self._files.forget(shard.file)
        if shard.file in self.sent:
            return
        each = self.sent[shard.file] = self._outbox.send(shard.file, path)
        with open(self._path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps([each.name, each.sha256]) + "\n")
            handle.flush()
            os.fsync(handle.fileno())


def _read_sent(folder: Path, shards: list[Shard]) -> dict[str, Sent]:
    """What an earlier run has sent of these shards, as it noted it."""
    path = folder / SENT_FILE
    if not path.is_file() or path.is_symlink():
        return {}
    known = {shard.file: shard for shard in shards}
    sent: dict[str, Sent] = {}
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            name, digest = json.loads(line)
            shard = known[name]
            bytes.fromhex(digest)
        except (ValueError, TypeError, KeyError):  # a line that was cut short
            continue
        sent[name] = Sent(
            name=name, sha256=digest, size=shard.size, sample=shard.header[:SAMPLE]
        )  # fmt: skip
    return sent
