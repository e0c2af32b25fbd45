"""Tables of the page on learning: what it costs, what it gains, what a search reaches."""

from collections.abc import Mapping
from typing import Any

from measured import read, table

SEARCHES = {
    "ours": "`search`",
    "ours, nothing predicted": "`search`, nothing predicted",
    "random": "random",
    "CMA-ES": "CMA-ES, the whole space",
    "CMA-ES on TIES": "CMA-ES on TIES",
}


def learning_cost() -> str:
    """What so many pairs of a 7B catalogue take."""
    rows = [
        (
            f"{each['pairs']:,}",
            f"{each['rows']:,}",
            f"{each['merges']:,}",
            f"{each['evaluations']:,}",
            f"{each['million_tokens']:.0f}",
            " – ".join(f"{hours:.2g}" for hours in each["merge_hours"]),
            " / ".join(f"{hours:g}" for hours in each["gpu_hours"].values()),
        )
        for each in read("learning_cost")["by pairs"]
    ]
    heads = (
        "pairs", "rows", "merges", "evaluations", "million tokens",
        "hours of merging (Linear – TIES)",
        "GPU hours at 2,000 / 10,000 / 50,000 tokens a second",
    )  # fmt: skip
    return table(heads, rows)


def learning_curve() -> str:
    """What the choice gains, by the rows that were learned from."""
    rows = [
        (
            round(each["rows"]),
            *(
                f"{each[arms]['both']['xgboost']['mean']:.3f}: "
                f"{_spread(each[arms]['both']['over best fixed'])}"
                for arms in ("all", "weights")
            ),
        )
        for each in read("selection")["learning curve"]
    ]
    heads = ("rows", "all arms: chosen, gained over the best fixed arm", "weights alone")
    return table(heads, rows)


def learned_same() -> str:
    """Learned and packaged predictors on models that both never saw."""
    return _compare("models left out", "packaged", "alone")


def learned_domains() -> str:
    """The same where the packaged table lacks a domain."""
    return _compare("a domain left out", "without the domain")


def learned_bases() -> str:
    """The same where the packaged table lacks a base."""
    return _compare("a base left out", "without the base", "alone")


def learned_plans() -> str:
    """What plans for models of another base take, without and with what was learned."""
    rows = [
        (
            f"{what}, {arms}",
            each["cases"],
            f"{each['packaged']['mean']:.3f}",
            f"{each['packaged: followed']:.0%}",
            f"{each['learned']['mean']:.3f}",
            f"{each['learned: followed']:.0%}",
            _spread(each["learned over packaged"]),
        )
        for arms, judged in read("learned")["a base left out"]["plans"].items()
        for what, each in judged.items()
    ]
    heads = (
        "judged on", "cases", "without the base", "followed", "learned", "followed",
        "learned over packaged",
    )  # fmt: skip
    return table(heads, sorted(rows))


def learned_real() -> str:
    """The same for the real language model."""
    return _compare("a real language model", "packaged", "alone")


def search_curves() -> str:
    """The best merge so far, as a share of the best there is, by evaluations."""
    counts = ("5", "10", "20", "40", "100")
    curves = read("search")["curves"]
    rows = [
        (name, *(_share(curves[key], count) for count in counts)) for key, name in SEARCHES.items()
    ]
    return table(("evaluations", *counts), rows)


def search_real() -> str:
    """The same on the pair of a real model, and how early it reaches what CMA-ES does."""
    part = read("search")["real"]
    counts, reached = ("5", "10", "20", "40", "100"), part["reaches"]
    rows = [
        (name, *(_share(part["curves"][key], count) for count in counts), _other(part, key))
        for key, name in SEARCHES.items()
    ]
    (best,) = [pair["best measured"] for pair in part["pairs"]]
    ours, alone, chance = (
        f"after {reached[key]}" if reached[key] else "never"
        for key in ("ours", "ours, nothing predicted", "random")
    )
    return table(("evaluations", *counts, "other prompts"), rows) + (
        f"\n\nThe best of the {part['lattice']} keeps {best:.3f} of both. What the better CMA-ES "
        f"has after 100 evaluations, `search` has {ours}, without a prediction {alone}, random "
        f'search {chance}. "Other prompts": the share kept itself of what each ended with, on the '
        f"{part['other prompts']} prompts that none asked."
    )


def _other(part: Mapping[str, Any], key: str) -> str:
    (share,) = [pair[key]["other prompts"] for pair in part["pairs"]]
    return "–" if share is None else f"{share:.3f}"


def cluster_gains() -> str:
    """What two nodes of one core gain over one, and how they were measured."""
    measured = read("cluster")
    rows = [
        (
            what,
            " + ".join(map(str, each["rounds"])),
            f"{each['at best']:.2f}",
            f"{each['busiest']['ratio']:.2f}",
            " / ".join(f"{each['busiest'][nodes]:.1f}" for nodes in ("one", "two")),
            f"{each['clock']['ratio']:.2f}",
            " / ".join(f"{each['clock'][nodes]:.1f}" for nodes in ("one", "two")),
        )
        for what, each in measured["gains"].items()
    ]
    heads = (
        "handed out", "pieces", "at best", "gain by CPU",
        "CPU seconds of the busiest node, one / two", "gain by the clock",
        "seconds by the clock, one / two",
    )  # fmt: skip
    here, loads = measured["here"], sorted(run["load before"] for run in measured["runs"])
    whole = [
        min(run["split merge, all of it"]["clock"] for run in measured["runs"] if run["nodes"] == n)
        for n in (1, 2)
    ]
    return table(heads, rows) + (
        f"\n\nMeasured on {measured['cores']} cores, with a load of {loads[0]:.1f} to "
        f"{loads[-1]:.1f} before each run. The merge of "
        f"{here['bytes'] / 1e6:.0f} MB by TIES took {here['seconds']:.1f} s "
        f"on one thread without Ray, {whole[0]:.1f} s split for one node and {whole[1]:.1f} s for "
        "two, with what the driver does before and after."
    )


def _share(curve: Mapping[str, float], count: str) -> str:
    return f"{curve[count]:.3f}" if count in curve else "–"


def _compare(part: str, packaged: str, *more: str) -> str:
    """What learned, packaged and other predictors choose; a row for what is judged."""
    heads = (
        "judged on", "cases", packaged, "learned", *(f"learned {name}" for name in more),
        "learned over packaged", "oracle",
    )  # fmt: skip
    columns = ("packaged", "learned", *more)
    rows = [
        (
            what,
            each["cases"],
            *(f"{each[name]['mean']:.3f}" for name in columns),
            _spread(each["learned over packaged"]),
            f"{each['oracle']['mean']:.3f}",
        )
        for what, each in read("learned")[part].items()
        if isinstance(each, Mapping) and "oracle" in each
    ]
    return table(heads, rows)


def _spread(found: Mapping[str, Any]) -> str:
    return "{mean:+.3f} ({low:+.3f} to {high:+.3f})".format(**found)
