"""Tables of the first merge: how long its steps take, and what merges of other pairs answer."""

from collections.abc import Iterable

from measured import read, table
from refusals import cell


def first_merge() -> str:
    """Seconds for each step of the page."""
    report = read("first_merge")
    rows = [
        (
            cell(f"`{each['step']}`" if each["step"].startswith(RUN) else each["step"]),
            each["seconds"],
        )
        for each in report["steps"]
    ]
    said = f"On {report['cores']} cores that other work shared, {report['seconds']:,} s in all"
    installs = [each for each in report["steps"] if each["step"].startswith("pip install")]
    if installs:
        said += f" after {installs[0]['seconds']:,.0f} s of installing"
    return f"{said}:\n\n{table(['step', 'seconds'], rows)}"


RUN = ("simmerge-hub", "pip", "ls", "cat", "cmp")
"""How steps begin that are typed."""


def demo_pairs() -> str:
    """What the merge of each pair of packaged models answers right, and what pairs of the large zoo
    keep."""
    report = read("demo_pairs")
    count, zoo = report["prompts"], report["zoo"]
    rows = [
        (
            " + ".join(each["pair"]),
            _join(f"{100 * share:.0f} % of {task}" for task, share in each["expected"].items()),
            _join(f"{right} of {count} {task}" for task, right in each["right"].items()),
            _join(f"{right} of 10 {task}" for task, right in each["right_of_10"].items()),
        )
        for each in report["pairs"]
    ]
    header = ["models", "expected of the expert's score", "answered right", "asked by the demo"]
    kept = [
        (name, f"{zoo[name]['both_kept']:.0%}", f"{zoo[name]['both_half']:.0%}")
        for name in ("plain average", "RegMean++", "best in hindsight")
    ]
    share = f"{100 * report['kept']:.0f} %"
    return "\n\n".join(
        [
            table(header, rows),
            f"Of {zoo['pairs']} pairs of {zoo['models']} nano models that were measured, so many "
            f"keep both skills: {share} of each expert's score, or half of it:",
            table(["operator", f"both {share}", "both half"], kept),
        ]
    )


def _join(parts: Iterable[str]) -> str:
    return ", ".join(parts)
