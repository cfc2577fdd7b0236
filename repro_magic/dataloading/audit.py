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

# Methods that PyTorch's fetchers call on a dataset (torch/utils/data/_utils/fetch.py), and transforms' entry points.
_ITEM_METHODS = ("__getitem__", "__getitems__", "__iter__", "__next__", "__call__", "forward")
_CONSTRUCTORS = {"__init__", "__post_init__", "__new__"}
# Instructions that read an attribute; that read a global.
_ATTRIBUTE_READS, _GLOBAL_READS = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"}, {"LOAD_GLOBAL", "LOAD_NAME"}
# Code that uses these names to make items probably reseeds generators there.
_RESEEDING_NAMES = {"get_worker_info", "initial_seed", "getpid", "seed", "manual_seed", "setstate", "set_state"}
_MOST_FUNCTIONS, _MOST_NAMED = 500, 3
_OPTIONS = "**repro_magic.loader_options(seed)"


@dataclass(frozen=True)
class Remark:
    """A remark about a loader.

    Attributes:
        what: a short title.
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
        >>> [(remark.what, remark.is_fault) for remark in audit(DataLoader(range(9), shuffle=True))]
        [('no generator=', False), ('num_workers=0', False)]
    """
    remarks = [remark for check in _CHECKS for remark in check(loader)]
    return sorted(remarks, key=lambda remark: not remark.is_fault)


def _copied_generators(loader: Any) -> Iterator[Remark]:  # noqa: ANN401 - a DataLoader
    """Generators that each worker gets a copy of."""
    if loader.num_workers == 0:
        return
    reseeds_dataset = loader.worker_init_fn is worker_init_fn
    in_dataset = {
        id(generator.value): generator
        for generator in generators_in(loader.dataset, "dataset")
        if not _is_from_torch(generator.holder)
    }
    elsewhere = {id(generator.value): generator for generator in (*_used_by_collate_fn(loader), *_used_by_code(loader))}
    reseeded = in_dataset if reseeds_dataset else {}
    copied = {key: generator for key, generator in (in_dataset | elsewhere).items() if key not in reseeded}
    drawn = [generator for key, generator in copied.items() if key not in in_dataset or _is_drawn_from(generator)]
    if not copied:
        return
    if loader.worker_init_fn is not None and not reseeds_dataset:
        yield Remark(
            f"custom worker_init_fn with {_joined_names(copied.values())}",
            "Each worker gets a copy of the generators; repro_magic cannot see whether the function reseeds them.",
            f"Call repro_magic.worker_init_fn(worker_id) in it, or pass {_OPTIONS}.",
        )
    elif any(_seems_to_reseed(loader, generator) for generator in copied.values()):
        yield Remark(
            f"{_joined_names(copied.values())} in every worker",
            "Each worker gets a copy in the same state. The code seems to reseed it in the worker.",
            f"If it does not, pass {_OPTIONS}.",
        )
    elif not drawn:
        yield Remark(
            f"{_joined_names(copied.values())} in every worker",
            "Each worker gets a copy in the same state. No code in the worker seems to draw from it.",
            f"If some code does, pass {_OPTIONS}.",
        )
    else:
        yield _copies_remark(loader, drawn, is_held=all(id(generator.value) in in_dataset for generator in drawn))


def _copies_remark(loader: Any, drawn: list[UserGenerator], *, is_held: bool) -> Remark:  # noqa: ANN401 - a DataLoader
    names, count = _joined_names(drawn), loader.num_workers
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
        is_fault=count > 1 or not loader.persistent_workers,  # a single worker repeats its numbers in each epoch
    )


def _joined_names(generators: Any) -> str:  # noqa: ANN401 - an iterable of UserGenerator
    names = [generator.generator.device for generator in generators]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _is_from_torch(holder: object) -> bool:
    """Whether PyTorch defines the holder: data pipes hold generators that the loader seeds the same in all workers."""
    return type(holder).__module__.partition(".")[0] == "torch"


def _used_by_collate_fn(loader: Any) -> Iterator[UserGenerator]:  # noqa: ANN401 - a DataLoader
    if not isinstance(loader.collate_fn, FunctionType):
        yield from generators_in(loader.collate_fn, "collate_fn")


def _is_drawn_from(generator: UserGenerator) -> bool:
    """Whether code that workers run reads the attribute; a generator that only `__init__` uses is harmless."""
    methods = _item_methods(type(generator.holder))
    # Without methods the holder is plain data, and any code may draw from its generator.
    return not methods or generator.attribute in _names_in(methods, _ATTRIBUTE_READS)


def _seems_to_reseed(loader: Any, generator: UserGenerator) -> bool:  # noqa: ANN401 - a DataLoader
    """Whether the code seems to reseed the generator in each worker, or for each item."""
    methods = [*_item_methods(type(generator.holder)), *_item_methods(type(loader.dataset))]
    return bool(_names_in(methods, None) & _RESEEDING_NAMES) or generator.attribute in _names_in(
        methods, {"STORE_ATTR"}
    )


def _item_methods(cls: type) -> list[FunctionType]:
    """The methods of a class that run for an item: its entry points, and the methods that they use."""
    methods = _methods(cls)
    entry_points = [name for name in _ITEM_METHODS if name in methods] or [
        name for name in methods if name not in _CONSTRUCTORS
    ]
    reached = dict.fromkeys(entry_points)
    waiting = deque(entry_points)
    while waiting:
        named = _names_in([methods[waiting.popleft()]], _ATTRIBUTE_READS) & (methods.keys() - reached.keys())
        reached |= dict.fromkeys(sorted(named))
        waiting += sorted(named)
    return [methods[name] for name in reached]


def _methods(cls: type) -> dict[str, FunctionType]:
    """The functions of a class and its bases, unwrapped from decorators."""
    functions: dict[str, FunctionType] = {}
    for base in cls.__mro__[:-1]:
        for name, value in vars(base).items():
            function = inspect.unwrap(getattr(value, "__func__", getattr(value, "fget", value)) or value)
            if isinstance(function, FunctionType):
                functions.setdefault(name, function)
    return functions


def _names_in(functions: Iterable[FunctionType], steps: Container[str] | None) -> set[str]:
    """The names in functions' code: all, or those in the given instructions, which tell `rng` from `self.rng`."""
    names: set[str] = set()
    waiting = [function.__code__ for function in functions]
    while waiting:
        code = waiting.pop()
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        if steps is None:
            names.update(code.co_names)
        else:
            names |= {step.argval for step in dis.get_instructions(code) if step.opname in steps}
    return names


def _used_by_code(loader: Any) -> Iterator[UserGenerator]:  # noqa: ANN401 - a DataLoader
    """Generators that the user's functions reach through globals or closures, if workers are forked.

    A spawned worker imports the module again, and may create the generators again.
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
            yield from _item_methods(type(value))


def _attributes(value: object) -> Iterator[object]:
    for attribute in list(attributes(value).values()):
        yield attribute
        if isinstance(attribute, list | tuple) and len(attribute) <= _MOST_FUNCTIONS:
            yield from attribute


def _outer_values(function: FunctionType) -> Iterator[tuple[str, object]]:
    names = _names_in([function], _GLOBAL_READS)
    yield from ((name, function.__globals__[name]) for name in sorted(names) if name in function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # the cell is still empty
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
    is_random = hash_seed_of_this_process() == "random"  # not the variable, which seeding sets for child processes
    for name, sampler in samplers.items():
        if (
            is_random
            and isinstance(sampler, set | frozenset)
            and any(isinstance(item, str | bytes) for item in sampler)
        ):
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
    draws = any(_is_from_torch(sampler) and getattr(sampler, "generator", sampler) is None for sampler in samplers)
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
