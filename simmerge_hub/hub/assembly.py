"""A checkpoint that was converted -> a folder as save_pretrained() writes it, of links."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

from simmerge_hub.hub.assets import assets_folder, write_whole
from simmerge_hub.hub.digest import digest
from simmerge_hub.hub.files.cached import local_file
from simmerge_hub.hub.resolve import Checkpoint
from simmerge_hub.hub.weight_files import INDEX, WEIGHTS


def assemble(checkpoint: Checkpoint, beside: Iterable[str]) -> Path:
    """A folder as save_pretrained() writes it, of links to converted weights and other files.

    Args:
        checkpoint: one whose weights were converted.
        beside: names of its files that belong beside the weights.
    """
    assert checkpoint.converted is not None and checkpoint.converted.folder is not None
    folder = assets_folder("assembled", digest(checkpoint)[:32])
    index = {name: header.file for name, header in checkpoint.tensors.items()}
    index |= {name: header.file for name, header in checkpoint.buffers.items()}
    shards = sorted(set(index.values()))
    for shard in shards:
        name = WEIGHTS[checkpoint.kind] if len(shards) == 1 else shard
        _link(folder / name, checkpoint.converted.folder / shard)
    if len(shards) > 1:
        with write_whole(folder / INDEX) as handle:
            handle.write(json.dumps({"metadata": {}, "weight_map": index}).encode())
    for name in beside:
        _link(folder / name, local_file(checkpoint.location, name))
    return folder


def _link(path: Path, target: Path) -> None:
    """Make `path` a link, or replace the one that is there; never for a moment without."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        link = Path(scratch, "link")
        link.symlink_to(target.resolve())
        link.replace(path)
