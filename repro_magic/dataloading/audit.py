"""Find `DataLoader` options that duplicate random numbers, or make order or numbers depend on something else.

Only options and code are read, never data: no worker starts and no item is loaded. The facts about PyTorch come from
torch/utils/data/dataloader.py, _utils/worker.py and sampler.py (2.9 to 2.13).
"""

from __future__ import annotations

import dis
import inspect
import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from repro_magic.dataloading.options import worker_init_fn
from repro_magic.introspection.object_graph import attributes
from repro_magic.rng.seeding import hash_seed_of_this_process
from repro_magic.rng.user_generators import UserGenerator, generators_in, user_generator

# How PyTorch's fetchers ask a dataset (torch/utils/data/_utils/fetch.py), and how transforms are called.
_ASKED = ("__getitem__", "__getitems__", "__iter__", "__next__", "__call__", "forward")
_MAKING = {"__init__", "__post_init__", "__new__"}
# Instructions that read an attribute, or a global.
_READ, _GLOBAL = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"}, {"LOAD_GLOBAL", "LOAD_NAME"}
# Who uses these where items are made gives generators seeds there.
_CARE = {"get_worker_info", "initial_seed", "getpid", "seed", "manual_seed", "setstate", "set_state"}
_MOST_FUNCTIONS, _MOST_TOLD = 500, 3
_OPTIONS = "**repro_magic.loader_options(seed)"


@dataclass(frozen=True)
class Remark:
    """A remark about a loader.

    Attributes:
        what: in a few words.
        why: the reason, in one or two sentences.
        remedy: what to do.
        is_fault: whether numbers are duplicated, or the order differs between runs, whatever the seed.
    """

    what: str
    why: str
    remedy: str
    is_fault: bool = False


def audit(loader: Any) -> list[Remark]:  # noqa: ANN401 - a DataLoader; torch may not be imported here
    """All remarks about a loader, faults first.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> [(one.what, one.is_fault) for one in audit(DataLoader(range(9), shuffle=True))]
        [('no generator=', False), ('num_workers=0', False)]
    """
    found = [remark for check in _CHECKS for remark in check(loader)]
    return sorted(found, key=lambda remark: not remark.is_fault)


def _copied_generators(loader: Any) -> Iterator[Remark]:  # noqa: ANN401 - a DataLoader
    """Generators that each worker gets a copy of."""
    if loader.num_workers == 0:
        return
    is_ours = loader.worker_init_fn is worker_init_fn
    held = [found for found in generators_in(loader.dataset, "dataset") if not _is_pytorchs(found.holder)]
    others = [*_of_collation(loader), *_used_by_code(loader)]
    cured = {id(found.value) for found in held} if is_ours else set()
    copied = {id(found.value): found for found in [*held, *others] if id(found.value) not in cured}
    in_dataset = {id(found.value) for found in held}
    drawn = [found for found in copied.values() if id(found.value) not in in_dataset or _is_drawn_from(found)]
    if not copied:
        return
    if loader.worker_init_fn is not None and not is_ours:
        yield Remark(
            f"custom worker_init_fn with {_names(copied.values())}",
            "Each worker gets a copy of the generators; repro_magic cannot see whether the function reseeds them.",
            f"Call repro_magic.worker_init_fn(worker_id) in it, or pass {_OPTIONS}.",
        )
    elif any(_takes_care(loader, found) for found in copied.values()):
        yield Remark(
            f"{_names(copied.values())} in every worker",
            "Each worker gets a copy in the same state. The code seems to reseed it in the worker.",
            f"If it does not, pass {_OPTIONS}.",
        )
    elif not drawn:
        yield Remark(
            f"{_names(copied.values())} in every worker",
            "Each worker gets a copy in the same state. No code in the worker seems to draw from it.",
            f"If some code does, pass {_OPTIONS}.",
        )
    else:
        yield _copies(loader, drawn, is_held=all(id(found.value) in in_dataset for found in drawn))


def _copies(loader: Any, drawn: list[UserGenerator], *, is_held: bool) -> Remark:  # noqa: ANN401 - a DataLoader
    names, count = _names(drawn), loader.num_workers
    reasons = ["Each worker gets a copy in the same state"]
    if not loader.persistent_workers:
        reasons.append("and gets it again in each epoch, so every epoch draws the same numbers")
    return Remark(
        f"{count} workers draw the same numbers from {names}"
        if count > 1
        else f"the worker draws from a copy of {names}",
        f"{', '.join(reasons)}.",
        f"Pass worker_init_fn=repro_magic.worker_init_fn, or {_OPTIONS}."
        if is_held
        else f"Store it in an attribute of the dataset, and pass {_OPTIONS}.",
        is_fault=count > 1 or not loader.persistent_workers,  # one alone repeats itself in each epoch
    )


def _names(found: Any) -> str:  # noqa: ANN401 - an iterable of UserGenerator
    names = [one.generator.device for one in found]
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return ", ".join(names[:_MOST_TOLD]) + more


def _is_pytorchs(holder: object) -> bool:
    """Data pipes hold generators that the loader seeds itself, in all workers the same on purpose."""
    return type(holder).__module__.partition(".")[0] == "torch"


def _of_collation(loader: Any) -> Iterator[UserGenerator]:  # noqa: ANN401 - a DataLoader
    if not isinstance(loader.collate_fn, FunctionType):
        yield from generators_in(loader.collate_fn, "collate_fn")


def _is_drawn_from(found: UserGenerator) -> bool:
    """Whether code that workers run names the attribute; a generator that only `__init__` uses does no harm."""
    reached = _reached(type(found.holder))
    return not reached or found.attribute in _names_in(reached, _READ)  # of a mere holder it is not known who uses it


def _takes_care(loader: Any, found: UserGenerator) -> bool:  # noqa: ANN401 - a DataLoader
    """Whether the code looks as if it gave the generator a seed in each worker, or for each item."""
    reached = [*_reached(type(found.holder)), *_reached(type(loader.dataset))]
    return bool(_names_in(reached, None) & _CARE) or found.attribute in _names_in(reached, {"STORE_ATTR"})


def _reached(kind: type) -> list[FunctionType]:
    """The methods of a class that are called for an item, and those that they name."""
    methods = _methods(kind)
    asked = [name for name in _ASKED if name in methods] or [name for name in methods if name not in _MAKING]
    found = dict.fromkeys(asked)
    waiting = deque(asked)
    while waiting:
        more = _names_in([methods[waiting.popleft()]], _READ) & (methods.keys() - found.keys())
        found |= dict.fromkeys(sorted(more))
        waiting += sorted(more)
    return [methods[name] for name in found]


def _methods(kind: type) -> dict[str, FunctionType]:
    """The functions of a class, those that decorators hide too."""
    found: dict[str, FunctionType] = {}
    for one in kind.__mro__[:-1]:
        for name, value in vars(one).items():
            function = inspect.unwrap(getattr(value, "__func__", getattr(value, "fget", value)) or value)
            if isinstance(function, FunctionType):
                found.setdefault(name, function)
    return found


def _names_in(functions: Iterable[FunctionType], steps: Container[str] | None) -> set[str]:
    """The names in some functions' code, all or those in certain instructions: `rng` and `self.rng` are two things."""
    found: set[str] = set()
    waiting = [function.__code__ for function in functions]
    while waiting:
        code = waiting.pop()
        waiting += [one for one in code.co_consts if isinstance(one, CodeType)]
        if steps is None:
            found.update(code.co_names)
        else:
            found |= {step.argval for step in dis.get_instructions(code) if step.opname in steps}
    return found


def _used_by_code(loader: Any) -> Iterator[UserGenerator]:  # noqa: ANN401 - a DataLoader
    """Generators that functions of the user's reach by a global name or keep in a closure, where workers are forked.

    A worker that is spawned imports the module anew, and may make them anew as well.
    """
    if _start_method(loader) != "fork":
        return
    seen: set[int] = set()
    waiting = deque(_first_functions(loader))
    while waiting and len(seen) < _MOST_FUNCTIONS:
        function = waiting.popleft()
        if id(function) in seen or function.__module__.partition(".")[0] in _LIBRARIES:
            continue
        seen.add(id(function))
        for name, value in _outer_values(function):
            if isinstance(value, FunctionType):
                waiting.append(value)
            else:
                yield from generators_in(value, name) if user_generator(name, value) else ()


_LIBRARIES = {"torch", "torchvision", "numpy", "repro_magic"} | sys.stdlib_module_names - {"__main__"}


def _first_functions(loader: Any) -> Iterator[FunctionType]:  # noqa: ANN401 - a DataLoader
    for value in (loader.dataset, *_attributes(loader.dataset), loader.collate_fn):
        if isinstance(value, FunctionType):
            yield value
        else:
            yield from _reached(type(value))


def _attributes(value: object) -> Iterator[object]:
    for one in list(attributes(value).values()):
        yield one
        if isinstance(one, list | tuple) and len(one) <= _MOST_FUNCTIONS:
            yield from one


def _outer_values(function: FunctionType) -> Iterator[tuple[str, object]]:
    names = _names_in([function], _GLOBAL)
    yield from ((name, function.__globals__[name]) for name in sorted(names) if name in function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # it is empty still
            continue


def _start_method(loader: Any) -> str:  # noqa: ANN401 - a DataLoader
    context = loader.multiprocessing_context
    if context is not None:
        return str(context.get_start_method())
    return multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]


def _order_of_workers(loader: Any) -> Iterator[Remark]:  # noqa: ANN401 - a DataLoader
    if loader.num_workers > 1 and not getattr(loader, "in_order", True):
        yield Remark(
            f"in_order=False with {loader.num_workers} workers",
            "Batches arrive in the order in which workers finish, which differs between runs.",
            "Pass in_order=True.",
            is_fault=True,
        )


def _order_of_a_set(loader: Any) -> Iterator[Remark]:  # noqa: ANN401 - a DataLoader
    samplers = {"sampler": loader.sampler, "batch_sampler": loader.batch_sampler}
    is_random = hash_seed_of_this_process() == "random"  # not the variable: a seeding sets it for child processes
    for name, sampler in samplers.items():
        if is_random and isinstance(sampler, set | frozenset) and any(isinstance(one, str | bytes) for one in sampler):
            yield Remark(
                f"the {name} is a set of strings",
                "Python orders a set of strings differently in each process.",
                f"Pass sorted(…) as the {name}, or start the kernel with PYTHONHASHSEED=0.",
                is_fault=True,
            )


def _generator(loader: Any) -> Iterator[Remark]:  # noqa: ANN401 - a DataLoader
    if loader.generator is not None:
        return
    samplers = (loader.sampler, getattr(loader.batch_sampler, "sampler", None))
    draws = any(_is_pytorchs(one) and getattr(one, "generator", one) is None for one in samplers)
    yield Remark(
        "no generator=",
        "Each epoch draws its order from PyTorch's global generator, so it depends on everything drawn before."
        if draws
        else "Each epoch draws from PyTorch's global generator, so later draws depend on the number of epochs.",
        f"Pass {_OPTIONS}.",
    )


def _number_of_workers(loader: Any) -> Iterator[Remark]:  # noqa: ANN401 - a DataLoader
    count = loader.num_workers
    yield Remark(
        f"num_workers={count}",
        "The dataset draws from this process's generators; with workers it would draw from theirs."
        if count == 0
        else "The dataset draws from the workers' generators, and num_workers decides which worker gets which batch.",
        "Keep num_workers: if the dataset draws random numbers, a different value changes them.",
    )


def _persistent(loader: Any) -> Iterator[Remark]:  # noqa: ANN401 - a DataLoader
    if loader.persistent_workers:
        yield Remark(
            "persistent_workers=True",
            "Workers are seeded once, and their generators carry over between epochs: a resumed run draws different "
            "numbers than an uninterrupted run.",
            "Pass persistent_workers=False if you resume runs.",
        )


_CHECKS: tuple[Callable[[Any], Iterator[Remark]], ...] = (
    _copied_generators,
    _order_of_workers,
    _order_of_a_set,
    _generator,
    _number_of_workers,
    _persistent,
)
