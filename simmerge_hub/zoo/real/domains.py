"""Every task a zoo can name: the nano models' and those in natural language."""

from collections.abc import Iterator

from simmerge_hub.zoo.real.tasks import TEXT_DOMAINS
from simmerge_hub.zoo.tasks import DOMAINS, Draw, Task


def find_task(path: str) -> Task:
    """The task called "domain/variant"; a KeyError lists the names there are."""
    known = {f"{d}/{v}": draw for d, v, draw in _variants()}
    if path not in known:
        raise KeyError(f"no task {path}; there are {', '.join(known)}")
    domain, _, variant = path.partition("/")
    return Task(domain=domain, variant=variant, draw=known[path])


def _variants() -> Iterator[tuple[str, str, Draw]]:
    for domains in (DOMAINS, TEXT_DOMAINS):
        for domain, variants in domains.items():
            yield from ((domain, variant, draw) for variant, draw in variants.items())
