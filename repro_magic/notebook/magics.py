"""The magics: each parses its line and calls a function."""

from __future__ import annotations

import ast
import functools
from argparse import Namespace
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, kwds, magic_arguments
from IPython.display import display
from traitlets import Bool, Enum

from repro_magic.determinism import settings
from repro_magic.exceptions import NotRunnableError, PanelError, UnwrappedCellError
from repro_magic.notebook.cell_scope import CellScope
from repro_magic.notebook.magic_line import parse, to_seconds, to_seed, to_seed_of_flag, to_threads, unquoted, usage
from repro_magic.notebook.receipts import DETERMINISTIC, MODES
from repro_magic.notebook.rewriting import MAGIC, mark
from repro_magic.notebook.setting_traits import Live
from repro_magic.rng.derive import rank
from repro_magic.rng.seed_policy import SeedPolicy
from repro_magic.rng.seeding import DERIVED, RANKS, new_seed

if TYPE_CHECKING:
    from repro_magic.journal import CellDraws
    from repro_magic.notebook.seed_keeper import Seeded
    from repro_magic.process_status import ProcessStatus
    from repro_magic.scope import Report
    from repro_magic.views.document import Document

# The functions below import what loading the extension does not need, which saves 15 ms.


# The texts shown under the current cell, so that a replay does not take them for results of the cell.
shown_by_us: deque[str] = deque(maxlen=100)


def show(document: Document, data: Mapping[str, object] | None = None) -> None:
    """Display a document as text and HTML, together with data for programs."""
    bundle = document.bundle()
    shown_by_us.append(bundle["text/plain"])
    display({**bundle, **(data or {})}, raw=True)


class Host(Protocol):
    """The parts of the session that the magics use."""

    def status(self) -> ProcessStatus:
        """The state of everything."""

    def entered(self) -> None:
        """Called when the code of a deterministic cell starts."""

    def note(self, report: Report, *, quiet: bool) -> None:
        """Called with the report when a deterministic cell ends."""

    def seed(self, policy: SeedPolicy) -> Seeded:
        """Seed every generator, and follow this policy from here on."""

    def turned(self, setting: settings.Setting) -> None:
        """Called when the user changed a setting."""

    def ledger(self) -> list[CellDraws]:
        """The draws of all ended cells."""

    def loaders(self) -> Document:
        """The table of the notebook's data loaders."""

    def show_panel(self) -> None:
        """Show the panel."""

    def replay(self, arguments: Namespace) -> None:
        """Replay the session, or stop the replay."""


@magics_class
class ReproMagic(Magics):
    """`%repro_seed`, `%repro_status`, `%repro_ledger`, `%repro_panel`, `%%deterministic`, and what `%config` turns."""

    watch = Bool(default_value=True, help="Watch every cell for nondeterministic ops and unseeded generators.").tag(
        config=True
    )
    receipts = Enum(
        MODES,
        default_value=DETERMINISTIC,
        help="Which cells get a receipt (digests of the values they reach): deterministic cells, all, or none.",
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
        """Create the magics of `shell`, which report to `host`."""
        self._host = host  # first, because the user's configuration may change a setting
        super().__init__(shell, parent=shell)
        self._shell = shell
        # Cached because argparse takes a tenth of the cost of a cell that runs in a loop.
        self._cell_arguments = functools.lru_cache(functools.partial(parse, self.deterministic))

    def turned(self, setting: settings.Setting) -> None:
        """Called when the user changed one of the settings above."""
        self._host.turned(setting)

    @magic_arguments()
    @argument("seed", nargs="?", type=to_seed, help="The seed, an integer from 0 to 2**64 - 1.")
    @argument("--new", action="store_true", help="Draw a new seed, use it and show it.")
    @argument("--adopt", action="store_true", help="Also seed generators reachable from notebook variables.")
    @argument("--per-cell", action="store_true", help="Start each later cell from its own seed.")
    @argument("--strict", action="store_true", help="Raise where a cell creates an unseeded generator.")
    @argument(
        "--ranks",
        choices=RANKS,
        default=RANKS[0],
        help="In a distributed run: the same seed for all ranks, or a derived seed per rank.",
    )
    @kwds(usage="%(prog)s [SEED | --new] [--adopt] [--per-cell] [--strict] [--ranks {same,derived}]")
    @line_magic
    def repro_seed(self, line: str) -> None:
        """Seed every generator, or show the seeds.

        Seeds Python, NumPy's global generator, PyTorch on every device, and other libraries with a plug-in, each now or
        right after its import. Sets PYTHONHASHSEED for child processes. NumPy gets a seed of more than 32 bits as two
        32-bit words and a 1.

        Does not reach generators that you create, such as numpy.random.default_rng(): pass each a seed, or add --adopt.
        It seeds all generators reachable from notebook variables, also in attributes, lists and dictionaries. Each gets
        its own seed, derived from SEED and its location.

        With --per-cell, each later cell starts from its own seed, derived from SEED and the cell: run again, alone or
        out of order, it draws the same numbers. A cell is identified by its name (%%deterministic --name NAME, or the
        comment "# repro: name NAME"), or else by its source: then an edit changes its numbers. Where the front end
        sends no cell ids (a terminal, nbconvert), an unnamed cell that runs again counts as a new cell. With --adopt,
        your own generators are seeded at the start of each cell, too.

        With --strict, creating an unseeded generator in the notebook's own code raises, and so does seeding from the
        clock, until the next %repro_seed. The comment "# repro: accept default_rng" on a line allows it.

        With --ranks derived, each process of a distributed run gets its own seed, as data and dropout need; with
        --ranks same (the default), all get the same seed, as model initialization needs.

        Examples:
        --------
        ::

          %repro_seed 42       seed everything with 42
          %repro_seed $SEED    the same with a variable
          %repro_seed --new    draw a new seed and show it
          %repro_seed 42 --adopt
                               also seed generators reachable from notebook variables
          %repro_seed 42 --per-cell
                               start each later cell from its own seed
          %repro_seed          show each generator's seed and whether it was drawn from since
        """
        arguments = parse(self.repro_seed, line)
        if arguments.new and arguments.seed is not None:
            raise UsageError(f"give a seed or --new, not both\n{usage(self.repro_seed)}")
        flags = {
            "--adopt": arguments.adopt,
            "--per-cell": arguments.per_cell,
            "--strict": arguments.strict,
            "--ranks": arguments.ranks == DERIVED,
        }
        first = next((flag for flag, is_given in flags.items() if is_given), None)
        if arguments.new or arguments.seed is not None:
            self._seed(arguments)
        elif first is None:
            self._show_seeds()
        else:
            raise UsageError(f"{first} needs a seed, or --new\n{usage(self.repro_seed)}")

    def _show_seeds(self) -> None:
        from repro_magic.views import describe  # noqa: PLC0415

        status = self._host.status()
        show(describe.from_here_on(status.seed_policy) + describe.generators(status.generators, status.last_draws))

    def _seed(self, arguments: Namespace) -> None:
        from repro_magic.views import describe  # noqa: PLC0415

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
        seeding = describe.seeding(
            seeded.generators,
            seeded.seed,
            new=policy if arguments.new else None,
            adopted=seeded.adopted,
            rank=rank() if policy.ranks == DERIVED else None,
        )
        show(seeding + describe.from_here_on(policy))

    def name_in(self, line: str) -> str | None:
        """The name in the line of a deterministic cell; None if there is none, or the line is invalid."""
        try:
            name: str | None = self._cell_arguments(line).name
        except UsageError:
            return None
        return name

    @magic_arguments()
    @kwds(usage="%(prog)s")
    @line_magic
    def repro_env(self, line: str) -> None:
        """Show and record the environment: versions, machine, environment variables, switches.

        The record is saved in this cell's output. If someone gets different results, `repro-magic env --diff THEIRS
        YOURS` shows what else differs. It holds no host name, path or user name.

        Examples:
        --------
        ::

          %repro_env
        """
        parse(self.repro_env, line)
        from repro_magic.proof.environment import MIME, environment  # noqa: PLC0415
        from repro_magic.views import environment as in_words  # noqa: PLC0415

        recorded = environment()
        display({**in_words.environment(recorded).bundle(), MIME: recorded}, raw=True)

    @magic_arguments()
    @argument("--wait", action="store_true", help="Wait for the verdict; without it, you can go on working.")
    @argument("--stop", action="store_true", help="Stop the running replay.")
    @argument("--timeout", type=to_seconds, metavar="S", help="Time limit per cell, in seconds.")
    @argument("--allow-shell", action="store_true", help="Also run lines such as !pip again.")
    @argument("--root", metavar="DIR", help="The folder to copy; default: the project's.")
    @argument("--include", action="append", metavar="GLOB", help="Paths below it to copy, whatever their size.")
    @kwds(usage="%(prog)s [--wait] [--timeout S] [--allow-shell] [--root DIR] [--include GLOB] | --stop")
    @line_magic
    def repro_verify(self, line: str) -> None:
        """Replay this session's cells in a fresh kernel, in the order they ran, and compare the results.

        The replay runs beside this session, in a copy of the project, and shows which cell does not reproduce: its
        receipt, its output, or the final value of a variable that it was the last to change differs. If a cell ran
        more than once, each cell then also runs once, from top to bottom. Your session is not touched.

        Examples:
        --------
        ::

          %repro_verify            replay in the background
          %repro_verify --wait     wait for the verdict
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
        """Show a live panel of seeds, settings and flagged ops, with controls to change them.

        Its field "As code" holds the lines that reproduce its settings: copy them into the notebook to keep what you
        clicked. A change made while a cell runs takes effect after the cell. Without a kernel, the last state stays
        readable below the panel.

        Examples:
        --------
        ::

          %repro_panel         again: a second view of the same panel
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
        """Show flagged ops by cell, generators, switches, what this process can no longer change, versions and devices.

        A flagged op is active (its result may differ between runs), handled (PyTorch uses a deterministic kernel) or
        latent (it may differ on CUDA, or with more elements). Changes and starts nothing.

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
        """Show which random generators each cell moved: how far, from which seed, and by which ops on which lines.

        Lists global generators and your own that are reachable from notebook variables, also in attributes, lists and
        dictionaries. "Words" are 32-bit words; for a GPU, the increase of its offset. The grid shows the newest cell
        last, the table the newest cell first. The running cell is listed once it ends. With
        %config ReproMagic.watch = False, no ops are listed.

        The last table lists remarks about the notebook's DataLoaders.

        Examples:
        --------
        ::

          %repro_ledger
        """
        parse(self.repro_ledger, line)
        from repro_magic.views import ledger  # noqa: PLC0415

        show(ledger.ledger(self._host.ledger()) + self._host.loaders())

    @magic_arguments()
    @argument("--seed", type=to_seed_of_flag, metavar="N", help="Seed every generator first, as %%repro_seed N does.")
    @argument("--strict", action="store_true", help="Raise before an op runs whose result may differ between runs.")
    @argument("--threads", type=to_threads, metavar="N", help="Threads per CPU op inside the cell.")
    @argument("--name", type=unquoted, metavar="NAME", help="A name for the cell, shown in the line below it.")
    @argument("--restore-rng", action="store_true", help="Restore all generators after the cell.")
    @argument("--quiet", action="store_true", help="Hide the line below the cell.")
    @kwds(usage="%%%(prog)s [--seed N] [--strict] [--threads N] [--name NAME] [--restore-rng] [--quiet]")
    @cell_magic
    def deterministic(self, line: str, cell: str) -> object:
        """Run the cell with PyTorch's deterministic switches on, and restore every switch afterwards.

        The cell stays an ordinary cell: Out, await, errors and line numbers work as usual. %%deterministic must be its
        first line; %%time, %%timeit and %%capture may stand above it, other cell magics below it.

        The line below the cell names the flagged ops that ran: handled, latent, or, in red, still nondeterministic.
        With --strict such an op raises NondeterministicOpError before it runs.

        Turns on torch.use_deterministic_algorithms, cudnn.deterministic, filling of uninitialized memory, and the
        deterministic modes of oneDNN and Inductor; turns off cudnn.benchmark and cuDNN's attention; sets
        CUBLAS_WORKSPACE_CONFIG. Each gets its previous value back, also after an error or an interrupt.

        While a cell awaits, background tasks run under its switches. A generator function called here but consumed in
        another cell runs without them. In a script: with repro_magic.deterministic(seed=42): ...

        Examples:
        --------
        ::

          %%deterministic --seed 42
          loss = train(model, data)
          loss
        """
        if not cell.strip():
            raise UnwrappedCellError(
                f"%%{MAGIC} could not wrap this cell, so the cell did not run. If another magic stands above it (such "
                f"as %%prun), make %%{MAGIC} the first line; otherwise run %reload_ext repro_magic."
            )
        # Called by other code instead of a cell: shell.run_cell_magic("deterministic", line, cell).
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
        """The context of a deterministic cell, from the arguments of `%%deterministic`.

        Raises:
            UsageError: the line is invalid; nothing was changed.
        """
        from repro_magic.scope import deterministic  # noqa: PLC0415

        # Variables come from the frame two levels up: the cell calls `enter`, which calls `open_cell`.
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


def flags_of(magics: ReproMagic, name: str) -> list[str]:
    """The flags of the magic `name`; empty for other extensions' magics.

    Example:
        For `"repro_seed"`: `["--new"]`.
    """
    names = {magic for table in magics.magics.values() for magic in table}
    parser = getattr(getattr(magics, name, None), "parser", None) if name in names else None
    return [] if parser is None else [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001
