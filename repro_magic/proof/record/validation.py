"""Receipts and sidecars checked against their published schemas: anyone may have written them."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from repro_magic.exceptions import NotRunnableError

# What to type to replace an invalid document.
_TO_REPLACE = {
    "receipt.v1": "Run the cell and save the notebook to replace it.",
    "sidecar.v1": "To write a new one: repro-magic verify --sidecar NB",
}


def checked(document: Any, schema: str, what: str, largest: int) -> dict[str, Any]:  # noqa: ANN401 - anybody's JSON
    """A document, if it keeps to a published schema.

    Raises:
        NotRunnableError: it does not; the message says where.
    """
    from jsonschema.exceptions import best_match  # noqa: PLC0415 - 0.3 s that only this needs

    try:
        size = len(json.dumps(document, default=str))
    except (ValueError, RecursionError) as error:
        raise NotRunnableError(f"{what} is not valid: {type(error).__name__}") from None
    if size > largest:
        raise NotRunnableError(f"{what} is too large to be one")
    name = document.get("schema") if isinstance(document, dict) else None
    expected = f"repro-magic.{schema}"
    if isinstance(name, str) and name != expected and name.startswith(expected[:-1]):
        raise NotRunnableError(f"{what} is of {name}, and this release reads {expected}: update repro_magic")
    wrong = best_match(_validator(schema).iter_errors(document))
    if wrong is not None:
        fault = f"{str(wrong.message)[:200]} (at {wrong.json_path[:80]})"
        raise NotRunnableError(f"{what} is not valid: {fault}. {_TO_REPLACE[schema]}")
    return dict(document)


@cache
def _validator(schema: str) -> Any:  # noqa: ANN401 - jsonschema carries no types
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow to import
    from referencing import Registry, Resource  # noqa: PLC0415

    receipts = _schema("receipt.v1")
    registry: Any = Registry().with_resource(receipts["$id"], Resource.from_contents(receipts))
    return Draft202012Validator(_schema(schema), registry=registry)


def _schema(name: str) -> dict[str, Any]:
    text = resources.files("repro_magic.proof.record").joinpath("schemas", f"{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
