"""The panel: a view of the session's state in core ipywidgets, with controls for its settings.

It holds no state of its own. The session provides its state after each cell, and receives clicks between cells. Below
it, plain HTML keeps its last state for when no kernel runs.
"""

from __future__ import annotations

import _thread
import functools
import itertools
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import ipywidgets as widgets
from IPython.display import display

from repro_magic.determinism.settings import SETTINGS, THREADS, Setting
from repro_magic.determinism.switches import Unreadable
from repro_magic.exceptions import HookFaultWarning, InvalidSeedError, ReproError
from repro_magic.notebook.deferred_calls import BetweenCells
from repro_magic.notebook.panel_widgets import Control, full_width, heading, scrolling, tooltip
from repro_magic.notebook.seed_keeper import Seeded
from repro_magic.process_status import ProcessStatus, SettingState
from repro_magic.rng.generators import checked_seed
from repro_magic.rng.seeding import new_seed
from repro_magic.views import panel as views
from repro_magic.views.describe import generators_table, headline, seed_policy
from repro_magic.views.document import Document, Line, Tone
from repro_magic.views.style import PANEL_CSS

# While a cell runs, the panel is updated at most every _PAUSE seconds, and takes at most 1/_SHARE of the time.
_PAUSE, _SHARE = 0.5, 50
_numbers = itertools.count(1)
# How many copies of the last state, the latest ones, are kept up to date.
_COPIES = 4
_LONGEST_ECHO = 40
_WAITS = "takes effect after the running cell"


class Host(Protocol):
    """The parts of the session that the panel uses."""

    @property
    def is_running(self) -> bool:
        """Whether a cell runs."""

    def status(self) -> ProcessStatus:
        """The state of everything."""

    def turn(self, setting: Setting, value: object) -> None:
        """Change a setting for the whole process."""

    def reseed(self, seed: int) -> Seeded:
        """Seed every generator with another seed, and keep the rest of the seed policy."""

    def set_watched(self, is_watched: bool) -> None:  # noqa: FBT001 - a toggle's value
        """Turn watching of later cells on or off."""

    def clear(self) -> None:
        """Clear the list of findings."""


class Panel:
    """The panel of one session.

    Args:
        host: the session.
    """

    def __init__(self, host: Host) -> None:
        """Create the widgets without showing them."""
        self._host = host
        self._between_cells = BetweenCells(lambda: host.is_running)
        self._lock = threading.RLock()
        self._thread = threading.get_ident()
        self._shown_by: int | None = None
        self._waiting: dict[Control, Callable[[], None]] = {}
        self._copies: deque[str] = deque(maxlen=_COPIES)
        self._shown = 0
        self._copy: dict[str, str] = {}
        self._is_detached = False
        self._has_follower = False
        self._status = host.status()
        self._create_widgets()
        self._refresh()

    # Widgets
    def _create_widgets(self) -> None:
        self._header = widgets.HTML(layout=full_width())
        self._create_seed()
        self._create_settings()
        self._create_findings()
        self._code = widgets.HTML(layout=full_width())
        self.box = widgets.VBox(
            [
                self._header,
                heading("Seeds"),
                self._generators,
                widgets.HBox(
                    [self.seed, self.seed_button, self.new_seed_button], layout=full_width(flex_flow="row wrap")
                ),
                self._seed_note,
                heading("Process settings"),
                self._settings_box,
                heading("Flagged ops"),
                widgets.HBox([self.narrow, self.clear_button], layout=full_width(flex_flow="row wrap")),
                self._findings,
                heading("As code"),
                self._code,
            ],
            layout=full_width(),
            # A fixed id instead of a random one, so that a notebook that runs again gives the same output.
            model_id=f"repro-magic-panel-{next(_numbers)}",
        )
        self.box.add_class("repro-magic-panel")

    def _create_seed(self) -> None:
        self._generators = widgets.HTML(layout=full_width())
        self.seed = tooltip(
            widgets.Text(
                description="Seed",
                placeholder="0 to 2**64 - 1",
                style={"description_width": "initial"},
                layout=widgets.Layout(width="18em"),
            ),
            "An integer from 0 to 2**64 - 1. Click Seed to apply it.",
        )
        self.seed_button = widgets.Button(
            description="Seed", tooltip="Seed every generator. --per-cell and other flags stay."
        )
        self.new_seed_button = widgets.Button(
            description="New seed", tooltip="Draw a new seed and seed every generator with it."
        )
        self._seed_note = widgets.HTML(layout=full_width(min_height="1.4em"))
        self.seed_button.on_click(self._guarded(self._seed_pressed))
        self.new_seed_button.on_click(self._guarded(self._new_seed_pressed))

    def _create_settings(self) -> None:
        self.controls: dict[str, Control] = {}
        for setting in SETTINGS:
            control = Control(setting.label, setting.says, setting.choices, is_count=setting.is_count)
            self._connect(control, functools.partial(self._host.turn, setting))
            self.controls[setting.name] = control
        self.controls["watch"] = watch = Control(
            "Watch cells", "Report nondeterministic ops and unseeded generators under each cell. Costs almost nothing."
        )
        self._connect(watch, self._host.set_watched)
        self._fixed = widgets.HTML(layout=full_width())
        self._hashes = tooltip(
            widgets.Text(
                description="PYTHONHASHSEED",
                disabled=True,
                style={"description_width": "initial"},
                layout=widgets.Layout(width="16em"),
            ),
            "Decides string hashes, and with them set order. Python reads it only when it starts.",
        )
        boxes = [control.box for control in self.controls.values()]
        fixed = widgets.HBox([self._hashes, self._fixed], layout=full_width(flex_flow="row wrap"))
        fixed.add_class("repro-magic-setting")
        wide, *others = boxes
        grid = widgets.Box(others, layout=full_width())
        grid.add_class("repro-magic-grid")
        self._settings_box = widgets.VBox([wide, grid, fixed], layout=full_width())

    def _create_findings(self) -> None:
        self._findings = widgets.HTML(layout=full_width())
        self.narrow = widgets.Dropdown(
            options=list(views.FILTERS),
            description="Show",
            style={"description_width": "initial"},
            layout=widgets.Layout(width="14em"),
        )
        tooltip(self.narrow, "Show only findings with this status.")
        self.clear_button = widgets.Button(description="Clear", tooltip="Clear the list of findings.")
        self.narrow.observe(self._guarded(lambda _change: self._show_findings()), names="value")
        self.clear_button.on_click(self._guarded(self._clear_pressed))

    # Events
    def _guarded(self, function: Callable[[Any], object]) -> Callable[[Any], None]:
        """Wrap a handler to show its faults in the panel, because it may run in the middle of a cell."""

        def handler(argument: Any) -> None:  # noqa: ANN401 - its type depends on the event
            if self._is_detached or self._shown_by == threading.get_ident():
                return
            try:
                function(argument)
            except Exception as error:  # noqa: BLE001 - no fault of the panel may make a cell fail
                self._show_fault(error)

        return handler

    def _connect(self, control: Control, turn: Callable[[Any], object]) -> None:
        def chosen(change: dict[str, Any]) -> None:
            value = change["new"]
            due = self._waiting[control] = functools.partial(self._turn, control, turn, value)
            if self._between_cells.call(functools.partial(self._turn_last, control, due)):
                control.say(_WAITS)

        control.control.observe(self._guarded(chosen), names="value")

    def _turn_last(self, control: Control, due: Callable[[], None]) -> None:
        """Apply a click, unless a later click on the same control replaced it."""
        if self._waiting.get(control) is due:
            del self._waiting[control]
            due()

    def _turn(self, control: Control, turn: Callable[[Any], object], value: object) -> None:
        fault = ""
        try:
            turn(value)
        except Exception as error:  # noqa: BLE001 - any error is shown beside the control
            fault = str(error)
        self._refresh()
        if fault:
            control.say(fault)

    def _seed_pressed(self, _button: object) -> None:
        text = self.seed.value.strip()
        try:
            seed = checked_seed(int(text))
        except InvalidSeedError as error:
            self._say_about_seed(f"{error}. Nothing was changed.")
        except ValueError:
            short = text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}…"
            problem = "type a seed first" if not text else f"a seed is an integer from 0 to 2**64 - 1, not {short!r}"
            self._say_about_seed(f"{problem}. Nothing was changed.")
        else:
            self._seed(seed)

    def _new_seed_pressed(self, _button: object) -> None:
        seed = new_seed()
        self.seed.value = str(seed)
        self._seed(seed)

    def _seed(self, seed: int) -> None:
        if self._between_cells.call(functools.partial(self._seed_now, seed)):
            self._say_about_seed(f"Seeding with {seed} {_WAITS}")

    def _seed_now(self, seed: int) -> None:
        try:
            policy = self._host.reseed(seed).policy
        except ValueError as error:  # a launcher's variable no longer gives a valid rank
            self._say_about_seed(f"{error}. Nothing was changed.")
            return
        self._refresh()
        self._say_about_seed(f"Seeded with {seed}. To get the same numbers again, write {policy.line}")

    def _say_about_seed(self, text: str) -> None:
        self._seed_note.value = Document((Line(text),)).html() if text else ""

    def _clear_pressed(self, _button: object) -> None:
        self._host.clear()
        self._refresh()

    # Display

    def show(self) -> None:
        """Display the panel below the running cell."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        # Not display(self.box), whose text form would be the first 110 characters of the style sheet.
        display({"application/vnd.jupyter.widget-view+json": view, "text/plain": "repro_magic panel"}, raw=True)
        self._shown += 1
        name = f"{self.box.model_id}-copy-{self._shown}"
        self._copies.append(name)
        display(self._copy, raw=True, display_id=name)

    @property
    def is_closed(self) -> bool:
        """Whether one of its widgets was closed, so that a new panel is needed."""
        controls = [control.control for control in self.controls.values()]
        return any(widget.comm is None for widget in (self.box, *self.box.children, *controls))

    def cell_ended(self) -> None:
        """Make deferred changes after a cell, and show the new state."""
        if self._is_detached:
            return
        try:
            self._between_cells.run()
            self._refresh()
            self._start_following()
        except Exception as error:  # noqa: BLE001 - a fault closes the panel, not the notebook
            self._show_fault(error)

    def _refresh(self) -> None:
        """Show the current state; the saved copies are updated only on the cells' thread."""
        here = threading.get_ident()
        with self._lock:
            if self._is_detached:  # its last message must stay
                return
            self._status = self._host.status()
            self._shown_by = here
            try:
                self._show_header(headline(self._status).line)
                seeds = generators_table(self._status.generators, self._status.last_draws)
                policy = seed_policy(self._status.seed_policy)
                self._generators.value = scrolling(Document((*policy, seeds)).html(), "Seeds")
                self._show_findings()
                self._show_settings()
                if here == self._thread:
                    self._code.value = views.code_html(views.as_code(self._status))
                    self._update_copies()
            finally:
                self._shown_by = None

    def _show_header(self, line: Line) -> None:
        lost = "Kernel restarted: run %load_ext repro_magic, then %repro_panel"
        self._header.value = (
            f"<style>{PANEL_CSS}</style>"
            f'<div role="status" class="repro-magic-headline">{Document((line,)).html()}</div>'
            f'<div class="repro-magic-lost">{Document((Line(lost, tone=Tone.ALARM),)).html()}</div>'
        )

    def _show_findings(self) -> None:
        table = views.findings_table(self._status, self.narrow.value)
        none = "No flagged op ran." if self.narrow.value == "all" else f"No findings with status {self.narrow.value}."
        document = Document((table if table.rows else Line(none),))
        self._findings.value = scrolling(document.html(), "Flagged ops")

    def _show_settings(self) -> None:
        for state in self._status.settings:
            control = self.controls[state.setting.name]
            if state.setting is THREADS and threading.get_ident() != self._thread:
                continue  # the number of threads differs between threads
            if control not in self._waiting:
                control.show(_value(state), views.setting_note(state), is_disabled=_is_disabled(state))
        if self.controls["watch"] not in self._waiting:
            self.controls["watch"].show(self._status.is_watched, "", is_disabled=False)
        hashes = self._status.fixed[0]
        self._hashes.value = hashes.value
        self._fixed.value = Document((Line(f"{hashes.why}; {hashes.remedy}"),)).html()

    # The saved copies
    def _update_copies(self) -> None:
        document = views.last_state(self._status)
        html = f'<div class="repro-magic-last">{document.html()}</div>'  # hidden by the panel's style sheet
        if html == self._copy.get("text/html"):  # rendering the text form takes much longer
            return
        self._copy = {"text/plain": document.text(), "text/html": html}
        for name in self._copies:
            display(self._copy, raw=True, display_id=name, update=True)

    # During a cell

    def _start_following(self) -> None:
        if not self._has_follower:
            self._has_follower = True
            # Not a Thread object, because threads that a cell starts are watched.
            _thread.start_new_thread(self._follow, ())

    def _follow(self) -> None:
        pause = _PAUSE
        while not self._is_detached and not self.is_closed:
            time.sleep(pause)
            if not self._host.is_running:
                continue
            began = time.thread_time()  # not the clock: waiting for the interpreter lock costs the cell nothing
            try:
                self._refresh()
            except Exception as error:  # noqa: BLE001 - no fault of the panel may make a cell fail
                self._show_fault(error)
                return
            pause = max(_PAUSE, _SHARE * (time.thread_time() - began))

    # Detaching

    def detach(self, why: str) -> None:
        """Stop updating, show the reason, and disable the controls."""
        with self._lock:
            if self._is_detached or self.is_closed:
                return
            if self._waiting or self._seed_note.value:  # deferred changes are dropped
                self._waiting.clear()
                self._between_cells.drop()
                self._say_about_seed("")
                self._refresh()
            self._is_detached = True
            text = f"{why}: run %load_ext repro_magic, then %repro_panel"
            self._show_header(Line(f"○ {text}", tone=Tone.CAUTION))
            for control in self.controls.values():
                control.control.disabled = True
            for widget in (self.seed, self.seed_button, self.new_seed_button, self.narrow, self.clear_button):
                widget.disabled = True

    def _show_fault(self, error: Exception) -> None:
        try:
            self.detach(f"The panel failed ({error!r})")
        except Exception:  # noqa: BLE001 - the widgets themselves may have failed
            self._is_detached = True
        if not isinstance(error, ReproError):
            warnings.warn(
                f"repro_magic closed its panel after an error ({error!r}); your code is not affected",
                HookFaultWarning,
                stacklevel=2,
            )


def _value(state: SettingState) -> object:
    """The value that the control shows: without a value, that of a fresh process."""
    return state.setting.default if state.value is None or isinstance(state.value, Unreadable) else state.value


def _is_disabled(state: SettingState) -> bool:
    return state.blocked is not None or (state.value is None and state.setting.default is None)
