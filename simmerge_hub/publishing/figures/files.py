"""Figures as files: what they can be written as, and how they look whoever draws them.

The same figure gives the same bytes each time, with the same versions of matplotlib and its fonts.
"""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simmerge_hub.errors import MissingExtra, OutputError
from simmerge_hub.hub.assets import refuse_unwritable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_FORMATS: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
"""What a figure can be written as, and what to leave out of the file for equal bytes."""
FIGURE_STYLE: dict[str, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "savefig.dpi": 150,
    "savefig.pad_inches": 0.15,
    "svg.hashsalt": "simmerge-hub",
    "text.parse_math": False,  # a model may be called a$b$c
}


def check(output: str | Path) -> None:
    """Whether a figure can be written to this file: asked before the work that it is to show.

    Raises:
        OutputError: no such folder, one that may not be written, or a kind of file that is not.
        MissingExtra: matplotlib is not installed.
    """
    path = Path(output)
    if path.suffix.lower() not in FIGURE_FORMATS:
        raise OutputError(
            f"{path.name} is no name for a figure", hint=f"end it in {', '.join(FIGURE_FORMATS)}"
        )
    if not path.parent.is_dir():
        raise OutputError(
            f"there is no folder {path.parent} to write the figure in",
            hint=f"make it first: mkdir -p {path.parent}",
        )
    refuse_unwritable(path)
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra(
            "figures are drawn with matplotlib, which is not installed",
            hint="pip install 'simmerge-hub[map]'",
        )


@contextmanager
def our_style() -> Iterator[None]:
    """Inside, matplotlib draws in our style, whatever the reader's matplotlibrc says."""
    from matplotlib import style

    with style.context(["default", FIGURE_STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def content(figure: Figure, kind: str, **how: Any) -> bytes:
    """The file of a figure of matplotlib's; `kind` is .png, .svg or .pdf, `how` for `savefig`."""
    written = io.BytesIO()
    figure.savefig(written, format=kind[1:], metadata=FIGURE_FORMATS[kind], **how)
    return written.getvalue()
