"""Write the versions of the development tools that this environment holds into constraints.txt.

`make lock` runs it in a fresh environment. What users install along with the package is left out: the tests run on the
newest versions of that, and only the tools around them stand still.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
PACKAGE = "repro-magic"
TOOLS, USERS = {"browser", "docs", "test"}, {"notebooks", "recipes"}


def closure(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> set[str]:
    """The packages that `name[extras]` needs, itself included, as far as they are installed."""
    if (name, extras) in seen:
        return set()
    seen.add((name, extras))
    try:
        requirements = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return set()
    found = {name}
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            found |= closure(canonicalize_name(requirement.name), frozenset(requirement.extras), seen)
    return found


def main() -> None:
    """Keep the head of the file, down to PyTorch's pin, and write the rest anew."""
    tools = closure(PACKAGE, frozenset(TOOLS), set()) - closure(PACKAGE, frozenset(USERS), set())
    head = CONSTRAINTS.read_text(encoding="utf-8").partition("\ntorch==")
    pin = "torch==" + head[2].splitlines()[0]
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in sorted(tools)]
    CONSTRAINTS.write_text(
        "\n".join([head[0], pin, "", "# Development tools: `make lock` renews these.", *pins, ""]), encoding="utf-8"
    )
    print(f"{len(pins)} tools pinned in {CONSTRAINTS.name}")


if __name__ == "__main__":
    main()
