"""The magics: each parses its line and calls."""

from __future__ import annotations

import ast
import functools
from argparse import ArgumentTypeError, Namespace
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, kwds, magic_arguments, parse_argstring
from IPython.display import display
from traitlets import Bool, Enum

from repro_magic.determinism import settings
from repro_magic.determinism.switches import checked_threads
from repro_magic.exceptions import (
    InvalidSeedError,
    InvalidThreadsError,
    NotRunnableError,
    PanelError,
    UnwrappedCellError,
)
from repro_magic.notebook.receipts import DETERMINISTIC, MODES
from repro_magic.notebook.rewriting import MAGIC, mark
from repro_magic.notebook.setting_traits import Live
from repro_magic.rng.derive import rank
from repro_magic.rng.generators import checked_seed
from repro_magic.rng.seed_policy import SeedPolicy
from repro_magic.rng.seeding import DERIVED, RANKS, new_seed
from repro_magic.runtime.interrupts import uninterrupted

if TYPE_CHECKING:
    from repro_magic.journal import CellDraws
    from repro_magic.notebook.seed_keeper import Seeded
    from repro_magic.process_status import ProcessStatus
    from repro_magic.scope import Report, deterministic
    from repro_magic.views.document import Document

# What is imported in the functions below is what loading the extension does not need: it takes 15 ms.


# The texts of what was shown since somebody emptied this: a replay must not take them for results.
shown_by_us: deque[str] = deque(maxlen=100)


def show(document: Document, data: Mapping[str, object] | None = None) -> None:
    """Display a document in both its forms, and data for programs beside it."""
    bundle = document.bundle()
    shown_by_us.append(bundle["text/plain"])
    display({**bundle, **(data or {})}, raw=True)


def _seed(text: str) -> int:
    try:
        return checked_seed(int(text))
    except InvalidSeedError as error:
        raise ArgumentTypeError(str(error)) from error
    except ValueError as error:
        raise ArgumentTypeError(str(InvalidSeedError.of(text))) from error


def _attribute(flag: str) -> str:
    """Where argparse keeps a flag."""
    return flag.removeprefix("--").replace("-", "_")


def _threads(text: str) -> int:
    try:
        return checked_threads(int(text))
    except InvalidThreadsError as error:
        raise ArgumentTypeError(str(error)) from error
    except ValueError as error:
        raise ArgumentTypeError(str(InvalidThreadsError.of(text))) from error


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"seconds are an integer from 1, not {text!r}")
    return int(text)


def _unquoted(text: str) -> str:
    """IPython leaves the quotes around an argument."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def parse(magic: Any, line: str) -> Any:  # noqa: ANN401 - IPython's decorators are untyped
    """The arguments in `line`.

    Raises:
        UsageError: they are wrong; with the usage line, so that the next try can be right.
    """
    try:
        return parse_argstring(magic, line)
    except (UsageError, ValueError) as error:  # ValueError: a quotation that is not closed
        raise UsageError(f"{error}\n{usage(magic)}") from None


def usage(magic: Any) -> str:  # noqa: ANN401 - IPython's decorators are untyped
    """The usage line of a magic, with its percent signs."""
    return "usage: " + " ".join(magic.parser.format_usage().removeprefix("::").split())


class Host(Protocol):
    """What the magics need of the session they belong to."""

    def status(self) -> ProcessStatus:
        """The state of everything."""

    def entered(self) -> None:
        """A deterministic cell's own code begins."""

    def note(self, report: Report, *, quiet: bool) -> None:
        """A deterministic cell is over."""

    def seed(self, policy: SeedPolicy) -> Seeded:
        """Seed every generator, and follow this policy from here on."""

    def turned(self, setting: settings.Setting) -> None:
        """A setting was set."""

    def ledger(self) -> list[CellDraws]:
        """What the cells that are over drew."""

    def loaders(self) -> Document:
        """What is to be known of the notebook's data loaders."""

    def show_panel(self) -> None:
        """Show the panel."""

    def replay(self, arguments: Namespace) -> None:
        """Replay the session, or stop the replay."""


@magics_class
class ReproMagic(Magics):
    """`%repro_seed`, `%repro_status`, `%repro_ledger`, `%repro_panel`, `%%deterministic`, and what `%config` turns."""

    watch = Bool(default_value=True, help="Watch every cell for ops that can give another result in another run.").tag(
        config=True
    )
    receipts = Enum(
        MODES,
        default_value=DETERMINISTIC,
        help="Which cells end in a receipt, the digests of what they reach: the deterministic ones, all, or none.",
    ).tag(config=True)
    deterministic_algorithms = Live(settings.DETERMINISTIC_ALGORITHMS)
    cudnn_deterministic = Live(settings.CUDNN_DETERMINISTIC)
    cudnn_benchmark = Live(settings.CUDNN_BENCHMARK)
    fill_uninitialized_memory = Live(settings.FILL_UNINITIALIZED_MEMORY)
    matmul_tf32 = Live(settings.MATMUL_TF32)
    cudnn_tf32 = Live(settings.CUDNN_TF32)
    flash_attention = Live(settings.FLASH_ATTENTION)
    efficient_attention = Live(settings.EFFICIENT_ATTENTION)
    cudnn_attention = Live(settings.CUDNN_ATTENTION)
    math_attention = Live(settings.MATH_ATTENTION)
    threads = Live(settings.THREADS)
    cublas_workspace = Live(settings.CUBLAS_WORKSPACE)

    def __init__(self, shell: InteractiveShell, host: Host) -> None:
        """Take the shell, and who is told."""
        self._host = host  # first: the user's configuration may turn a setting
        super().__init__(shell, parent=shell)
        self._shell = shell
        # A cell in a loop of re-runs has one line; argparse takes a tenth of all that it costs.
        self._cell_arguments = functools.lru_cache(functools.partial(parse, self.deterministic))

    def turned(self, setting: settings.Setting) -> None:
        """One of the settings above was set."""
        self._host.turned(setting)

    @magic_arguments()
    @argument("seed", nargs="?", type=_seed, help="The seed: an integer from 0 to 2**64 - 1.")
    @argument("--new", action="store_true", help="Draw a new seed from the operating system, use it and show it.")
    @argument("--adopt", action="store_true", help="Seed the generators of your own that the notebook holds, too.")
    @argument("--per-cell", action="store_true", help="Start each later cell from a seed of its own.")
    @argument("--strict", action="store_true", help="An unseeded generator is an error, until the next %%repro_seed.")
    @argument("--ranks", choices=RANKS, default=RANKS[0], help="In a distributed run: one seed, or one for each rank.")
    @kwds(usage="%(prog)s [SEED | --new] [--adopt] [--per-cell] [--strict] [--ranks {same,derived}]")
    @line_magic
    def repro_seed(self, line: str) -> None:
        """Seed every generator, or show what they are seeded with.

        Seeds Python, NumPy's global generator, PyTorch on every device, and other libraries that have a plug-in; those
        not imported yet are seeded when they are. PYTHONHASHSEED is set for child processes. NumPy takes a seed of
        more than 32 bits as two 32-bit words and a 1.

        Generators you made yourself, such as numpy.random.default_rng(), are not reached: give them a seed of their
        own, or add --adopt. It gives each that a name of the notebook holds, also in attributes, lists and
        dictionaries, a seed that follows from SEED and from where it is held.

        With --per-cell each later cell starts from a seed that follows from SEED and the cell: run again, alone, out of
        order or all in order, it draws the same numbers. A cell is known by its name (%%deterministic --name NAME, or a
        comment "# repro: name NAME"), else by its source: then an edit gives it other numbers. Where the front end
        sends no cell ids (a terminal, nbconvert), a nameless cell that is run again counts as one more cell. --adopt
        seeds your own generators at the start of each cell, too.

        With --strict it is an error to make a generator without a seed, or to seed one from the clock, in the
        notebook's own code; a comment "# repro: accept default_rng" lets a line through.

        With --ranks derived each process of a distributed run gets a seed of its own, as data and dropout need it; with
        --ranks same, the usual, all get the same, as the initialisation of a model needs it.

        Examples:
        --------
        ::

          %repro_seed 42       seed everything with 42
          %repro_seed $SEED    the same with a variable
          %repro_seed --new    draw a seed and show it, to be written down
          %repro_seed 42 --adopt
                               seed the notebook's own generators, too
          %repro_seed 42 --per-cell
                               give each later cell a seed of its own
          %repro_seed          show each generator: its seed, and whether it was drawn from since
        """
        arguments = parse(self.repro_seed, line)
        if arguments.new and arguments.seed is not None:
            raise UsageError(f"give a seed or --new, not both\n{usage(self.repro_seed)}")
        given = [flag for flag in ("--adopt", "--per-cell", "--strict") if getattr(arguments, _attribute(flag))]
        given += ["--ranks"] * (arguments.ranks == DERIVED)
        if given and arguments.seed is None and not arguments.new:
            raise UsageError(f"{given[0]} needs a seed, or --new\n{usage(self.repro_seed)}")
        from repro_magic.views import describe  # noqa: PLC0415

        if arguments.seed is None and not arguments.new:
            found = self._host.status()
            told = describe.generators(found.generators, found.last_draws)
            show(describe.from_here_on(found.seed_policy) + told)
            return
        policy = SeedPolicy(
            new_seed() if arguments.new else arguments.seed,
            per_cell=arguments.per_cell,
            adopt=arguments.adopt,
            strict=arguments.strict,
            ranks=arguments.ranks,
        )
        try:
            seeded = self._host.seed(policy)
        except ValueError as error:  # the launcher's variable holds no rank
            raise UsageError(str(error)) from None
        told = describe.seeding(
            seeded.generators,
            seeded.seed,
            new=policy if arguments.new else None,
            adopted=seeded.adopted,
            rank=rank() if policy.ranks == DERIVED else None,
        )
        show(told + describe.from_here_on(policy))

    def name_in(self, line: str) -> str | None:
        """The name that a deterministic cell's line gives; None if it gives none, or is wrong."""
        try:
            name: str | None = self._cell_arguments(line).name
        except UsageError:
            return None
        return name

    @magic_arguments()
    @kwds(usage="%(prog)s")
    @line_magic
    def repro_env(self, line: str) -> None:
        """Show and record what results depend on besides the notebook: versions, machine, variables, switches.

        The record is part of this cell's output, once for the notebook: whoever gets other results can see what else
        differs, by `repro-magic env --diff THEIRS YOURS`. No host name, path or user is in it.

        Examples:
        --------
        ::

          %repro_env
        """
        parse(self.repro_env, line)
        from repro_magic.proof.environment import MIME, environment  # noqa: PLC0415
        from repro_magic.views import environment as in_words  # noqa: PLC0415

        found = environment()
        display({**in_words.environment(found).bundle(), MIME: found}, raw=True)

    @magic_arguments()
    @argument("--wait", action="store_true", help="Wait for the verdict; otherwise you can go on meanwhile.")
    @argument("--stop", action="store_true", help="Stop the replay that runs.")
    @argument("--timeout", type=_seconds, metavar="S", help="Seconds that one cell may take.")
    @argument("--allow-shell", action="store_true", help="Run lines such as !pip once more, too.")
    @argument("--root", metavar="DIR", help="The folder that is copied; otherwise the project's.")
    @argument("--include", action="append", metavar="GLOB", help="Paths below it, copied whatever their size.")
    @kwds(usage="%(prog)s [--wait] [--timeout S] [--allow-shell] [--root DIR] [--include GLOB] | --stop")
    @line_magic
    def repro_verify(self, line: str) -> None:
        """Replay the cells that ran in this session, in that order, in a fresh kernel, and compare.

        It runs beside this session, in a copy of the project, and shows which cell would not reproduce: its
        receipt differs, or what it showed, or a name that it changed last holds something else in the end. If a cell
        ran more than once, each cell is then run once, too, as the saved notebook would. The session is not touched.

        Examples:
        --------
        ::

          %repro_verify            goes on in the background
          %repro_verify --wait     ends with the verdict
        """
        arguments = parse(self.repro_verify, line)
        try:
            self._host.replay(arguments)
        except NotRunnableError as error:
            raise UsageError(str(error)) from None

    @magic_arguments()
    @kwds(usage="%(prog)s")
    @line_magic
    def repro_panel(self, line: str) -> None:
        """Show a panel of seeds, settings and flagged ops, that follows the kernel; what it shows can be changed in it.

        Its field "As code" has the lines that give its settings: put them into the notebook, and it keeps what the
        mouse did. A change that is made while a cell runs takes effect after the cell. Where no kernel runs, the state
        shown last stays readable below it.

        Examples:
        --------
        ::

          %repro_panel         a second time: a second view of the same panel
        """
        parse(self.repro_panel, line)
        try:
            self._host.show_panel()
        except PanelError as error:
            raise UsageError(str(error)) from None

    @magic_arguments()
    @kwds(usage="%(prog)s")
    @line_magic
    def repro_status(self, line: str) -> None:
        """Show flagged ops by cell, generators, switches, what is fixed in this process, versions and devices.

        Of the flagged ops that ran it says which are active (can give another result here in another run), handled
        (PyTorch's deterministic path is taken) or latent (would differ on CUDA, or with more elements). Nothing is
        changed or started by looking.

        Examples:
        --------
        ::

          %repro_status
        """
        parse(self.repro_status, line)
        from repro_magic.views import describe  # noqa: PLC0415

        show(describe.status(self._host.status()))

    @magic_arguments()
    @kwds(usage="%(prog)s")
    @line_magic
    def repro_ledger(self, line: str) -> None:
        """Show which random generators each cell moved: how far, from a seed or not, and by which ops at which line.

        Generators are the global ones, and your own that a name of the notebook holds, also in attributes, lists and
        dictionaries. "Words" are words of 32 bits; of a GPU it is what its offset rose by. The picture has the cells
        side by side, the newest one last; the table has the newest one first. The running cell is told of when it is
        over. With %config ReproMagic.watch = False no ops are told.

        Below it stands what is to be known of the notebook's DataLoaders.

        Examples:
        --------
        ::

          %repro_ledger
        """
        parse(self.repro_ledger, line)
        from repro_magic.views import ledger  # noqa: PLC0415

        show(ledger.ledger(self._host.ledger()) + self._host.loaders())

    @magic_arguments()
    @argument("--seed", type=_seed, metavar="N", help="Seed every generator first, as %%repro_seed N does.")
    @argument("--strict", action="store_true", help="An op that can differ from run to run raises before it runs.")
    @argument("--threads", type=_threads, metavar="N", help="Threads of one CPU op inside the cell.")
    @argument("--name", type=_unquoted, metavar="NAME", help="A name for the cell, shown in its line.")
    @argument("--restore-rng", action="store_true", help="Put all generators back after the cell.")
    @argument("--quiet", action="store_true", help="Do not show the line under the cell.")
    @kwds(usage="%%%(prog)s [--seed N] [--strict] [--threads N] [--name NAME] [--restore-rng] [--quiet]")
    @cell_magic
    def deterministic(self, line: str, cell: str) -> object:
        """Run the cell with PyTorch's deterministic switches on, and put every switch back afterwards.

        The cell stays an ordinary cell: Out, await, errors and line numbers work as ever. It must be the cell's first
        line; %%time, %%timeit and %%capture may stand above it, other cell magics below it.

        Its line names the flagged ops that ran: handled, latent, or in red those that can differ all the same. With
        --strict such an op raises NondeterministicOpError before it runs.

        Inside: torch.use_deterministic_algorithms, cudnn.deterministic on, cudnn.benchmark off, uninitialized memory
        filled, oneDNN's and Inductor's deterministic modes on, cuDNN's attention off, CUBLAS_WORKSPACE_CONFIG set.
        Afterwards, also after an error or an interrupt, each is what it was.

        While an awaiting cell waits, background tasks run under its switches; a generator made here and consumed in
        another cell runs without them. In code: with repro_magic.deterministic(seed=42): ...

        Examples:
        --------
        ::

          %%deterministic --seed 42
          loss = train(model, data)
          loss
        """
        if not cell.strip():
            raise UnwrappedCellError(
                f"%%{MAGIC} could not be put around this cell, so nothing of it was run. If another magic stands above "
                f"it (such as %%prun), make %%{MAGIC} the first line; if the extension was just unloaded or another "
                f"AST transformer failed, run %reload_ext repro_magic."
            )
        # Not written as a cell but called by other code: shell.run_cell_magic("deterministic", line, cell).
        tree = self._rewritten("".join(mark([f"%%{MAGIC} {line}\n", *cell.splitlines(keepends=True)])))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"<{MAGIC}>", "exec"), self._shell.user_ns)  # noqa: S102 - running the user's code
        if not isinstance(last, ast.Expr):
            return None
        return eval(compile(ast.Expression(last.value), f"<{MAGIC}>", "eval"), self._shell.user_ns)  # noqa: S307

    def _rewritten(self, cell: str) -> ast.Module:
        tree = self._shell.transform_ast(self._shell.compile.ast_parse(self._shell.transform_cell(cell)))
        assert isinstance(tree, ast.Module)  # noqa: S101 - what ast_parse returns
        return tree

    def open_cell(self, line: str) -> CellScope:
        """The context of a deterministic cell, from what stands behind `%%deterministic` on its first line.

        Raises:
            UsageError: the line is wrong; nothing was changed.
        """
        from repro_magic.scope import deterministic  # noqa: PLC0415

        # Variables come from the frame two up: `open_cell` was called by `enter`, that by the cell.
        if "$" in line or "{" in line:
            line = self._shell.var_expand(line, 2)
        arguments = self._cell_arguments(line)
        scope = deterministic(
            arguments.seed,
            strict=arguments.strict,
            threads=arguments.threads,
            name=arguments.name,
            restore_rng=arguments.restore_rng,
            warn=False,
        )
        return CellScope(
            scope, entered=self._host.entered, note=functools.partial(self._host.note, quiet=arguments.quiet)
        )


class CellScope:
    """A deterministic scope that tells what it did when it is left, on every way out."""

    def __init__(self, scope: deterministic, entered: Callable[[], object], note: Callable[[Report], object]) -> None:
        """Take the scope, and who is told."""
        self._scope, self._entered, self._note = scope, entered, note
        self._report: Report | None = None

    @uninterrupted
    def __enter__(self) -> Report:
        """Enter the scope."""
        self._report = self._scope.__enter__()
        self._entered()
        return self._report

    @uninterrupted
    def __exit__(self, *exception: Any) -> None:  # noqa: ANN401, PYI036 - handed on
        """Leave the scope, and tell."""
        try:
            self._scope.__exit__(*exception)
        finally:
            if self._report is not None:
                self._note(self._report)


def flags_of(magics: ReproMagic, name: str) -> list[str]:
    """The flags that the magic `name` takes; none for a name that is not ours.

    Example:
        For `"repro_seed"`: `["--new"]`.
    """
    names = {known for table in magics.magics.values() for known in table}
    parser = getattr(getattr(magics, name, None), "parser", None) if name in names else None
    return [] if parser is None else [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001
