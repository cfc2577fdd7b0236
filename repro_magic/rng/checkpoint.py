"""Save and restore generator states with a checkpoint: a resumed run draws the same numbers.

A state holds strings, lists and dictionaries only. `torch.load(weights_only=True)` and JSON read it back, and no code
runs.
"""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Mapping
from typing import Any

from repro_magic.exceptions import InvalidStateError
from repro_magic.rng.generators import Generator, generators, import_libraries
from repro_magic.rng.user_generators import user_generator

SCHEMA = "repro-magic.rng-state.v1"
State = dict[str, Any]
_REQUIRED = "python cpu"


def rng_state(**own: object) -> State:
    """Return the state of every global generator, and of generators that you pass.

    Global generators are Python's, NumPy's, PyTorch's on each started device, and those of plug-ins. Draws nothing and
    starts nothing.

    Args:
        own: your own generators, each under a name of your choice: `numpy.random.Generator`,
            `numpy.random.RandomState`, `random.Random` or `torch.Generator`.

    Returns:
        A dictionary for `torch.save`, JSON or pickle.

    Raises:
        InvalidStateError: `own` holds something else.

    Example:
        >>> import random
        >>> mine = random.Random(1)
        >>> state = rng_state(mine=mine)
        >>> first = random.random(), mine.random()
        >>> set_rng_state(state, mine=mine)
        []
        >>> first == (random.random(), mine.random())
        True
    """
    by_key = {generator.key: generator for generator in generators()} | _user_generators(own)
    return {
        "schema": SCHEMA,
        "generators": {key: _encoded(generator.get_state(), key) for key, generator in by_key.items()},
    }


def set_rng_state(state: Mapping[str, Any], /, *, strict: bool = True, **own: object) -> list[str]:
    """Restore the generators from what `rng_state` returned: all of them, or none on an error.

    Args:
        state: what `rng_state` returned.
        strict: raise if a generator in `state` is missing here, such as a GPU's on a machine without a GPU, or if a
            generator in `own` is missing in `state`.
        own: your own generators, under the names that you passed to `rng_state`.

    Returns:
        The generators in `state` that are missing here and were skipped; empty with `strict`.

    Raises:
        InvalidStateError: `state` is damaged or from another release, or, with `strict`, a generator is missing.
            Nothing was changed.
    """
    recorded = _checked(state)
    passed = _user_generators(own)
    import_libraries({key.partition(" ")[0] for key in recorded if key not in passed})
    here = {generator.key: generator for generator in generators()} | passed
    unrecorded = [key for key in passed if key not in recorded]
    if strict and (unrecorded or _REQUIRED not in recorded):
        raise InvalidStateError(
            f"the state does not hold {', '.join(unrecorded) or _REQUIRED}: pass it to rng_state() under the same "
            "name, or skip it with set_rng_state(state, strict=False)"
        )
    missing = [key for key in recorded if key not in here]
    if missing and strict:
        raise InvalidStateError(
            f"there is no generator {', '.join(missing)} here: import its library, start its device, or pass it by "
            "name; or skip it with set_rng_state(state, strict=False)"
        )
    before = {key: here[key].get_state() for key in recorded if key in here}
    decoded = {key: _decoded_state(recorded[key], key) for key in before}
    try:
        for key, value in decoded.items():
            here[key].set_state(value)
    except Exception as error:
        for key, value in before.items():
            here[key].set_state(value)
        raise InvalidStateError(f"the state does not match its generator: {error}") from error
    return missing


def _checked(state: object) -> Mapping[str, Any]:
    schema = state.get("schema") if isinstance(state, Mapping) else None
    if schema != SCHEMA:
        fault = f"has schema {schema!r}" if isinstance(schema, str) else "has no schema"
        raise InvalidStateError(f"the state {fault}, expected {SCHEMA!r}: pass what rng_state() returned")
    recorded = state["generators"] if isinstance(state, Mapping) and "generators" in state else None
    if not isinstance(recorded, Mapping):
        raise InvalidStateError("the state has no generators: pass what rng_state() returned")
    return recorded


def _user_generators(values: Mapping[str, object]) -> dict[str, Generator]:
    user_generators = {name: user_generator(name, value) for name, value in values.items()}
    for name, wrapped in user_generators.items():
        if wrapped is None:
            kind = type(values[name]).__name__
            raise InvalidStateError(f"cannot save the state of {name}: {kind} is not a supported generator")
    return {wrapped.generator.key: wrapped.generator for wrapped in user_generators.values() if wrapped is not None}


def _encoded(value: Any, key: str) -> Any:  # noqa: ANN401 - each library has its own kind of state
    """A state as strings, lists and dictionaries; numbers are strings, because JSON readers may round large ones."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return {"float": value.hex()} if isinstance(value, float) else {"int": str(value)}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_encoded(part, key) for part in value]}
    if isinstance(value, dict):
        return {"dict": {str(name): _encoded(part, key) for name, part in value.items()}}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic) and value.dtype.kind in "iuf":
        array = numpy.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        return {"array": [array.dtype.str, list(value.shape), base64.b64encode(array.tobytes()).decode()]}
    if torch is not None and isinstance(value, torch.Tensor) and value.dtype is torch.uint8:
        return {"tensor": base64.b64encode(value.cpu().numpy().tobytes()).decode()}
    raise InvalidStateError(f"the state of {key} holds a {type(value).__name__}, which cannot be saved")


def _decoded_state(value: Any, key: str) -> Any:  # noqa: ANN401 - each library has its own kind of state
    try:
        state = _decoded(value)
        _check_numbers(state)
    except (TypeError, ValueError, KeyError, AttributeError, binascii.Error, RecursionError) as error:
        raise InvalidStateError(f"the state of {key} is damaged: {error}") from None
    return state


_WORDS = 624  # of MT19937
# Largest positions and flags, and array lengths, of NumPy's bit generators: NumPy accepts any, and then reads beyond
# its memory.
_LIMITS = {"pos": _WORDS, "buffer_pos": 4, "has_uint32": 1, "uinteger": 2**32 - 1, "has_gauss": 1}
_LENGTHS = {
    "MT19937": {"key": _WORDS},
    "Philox": {"counter": 4, "key": 2, "buffer": 4},
    "SFC64": {"state": 4},
}


def _check_numbers(state: Any) -> None:  # noqa: ANN401 - each library has its own kind of state
    """Reject a state that a library would accept and later fail on, or crash.

    Raises:
        ValueError: a number or a length is out of range.
        TypeError, KeyError: a part has the wrong type, or is missing.
    """
    if isinstance(state, tuple) and state and state[0] == "MT19937":  # numpy.random.get_state()
        _, key, position, has_gauss, gauss = state
        numbers = {"key": key, "pos": position}
        state = {"bit_generator": "MT19937", "state": numbers, "has_gauss": has_gauss, "gauss": gauss}
    if isinstance(state, dict) and "bit_generator" in state:
        inner = state["state"]
        parts = {**state, **inner}
        for name, limit in _LIMITS.items():
            if name in parts and not 0 <= parts[name] <= limit:
                raise ValueError(f"{name} is {parts[name]}, expected 0 to {limit}")
        for name, length in _LENGTHS.get(state["bit_generator"], {}).items():
            if parts[name].shape != (length,):
                raise ValueError(f"{name} has the wrong length")
        if "has_gauss" in state and not isinstance(state["gauss"], float):
            raise TypeError("gauss is not a number")
    elif isinstance(state, tuple) and len(state) == _PYTHON_PARTS:  # random.getstate()
        *_, gauss = state
        if gauss is not None and not isinstance(gauss, float):
            raise TypeError("gauss is not a number")


_PYTHON_PARTS = 3


def _decoded(value: Any) -> Any:  # noqa: ANN401 - each library has its own kind of state
    if value is None or isinstance(value, str | bool):
        return value
    [(kind, content)] = value.items()
    return _DECODERS[kind](content)


def _decoded_array(content: Any) -> Any:  # noqa: ANN401 - NumPy's
    numpy = sys.modules["numpy"]
    dtype, shape, text = content
    return numpy.frombuffer(base64.b64decode(text, validate=True), numpy.dtype(dtype)).reshape(shape).copy()


def _decoded_tensor(text: str) -> Any:  # noqa: ANN401 - torch's
    torch = sys.modules["torch"]
    return torch.frombuffer(bytearray(base64.b64decode(text, validate=True)), dtype=torch.uint8)


_DECODERS: Mapping[str, Any] = {
    "int": int,
    "float": float.fromhex,
    "tuple": lambda parts: tuple(_decoded(part) for part in parts),
    "list": lambda parts: [_decoded(part) for part in parts],
    "dict": lambda parts: {name: _decoded(part) for name, part in parts.items()},
    "array": _decoded_array,
    "tensor": _decoded_tensor,
}
