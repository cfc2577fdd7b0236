"""What counts as noise, and what must not."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from tqdm import tqdm

from repro_magic.proof.text.noise import normalised

NOISE = [
    ("<Model object at 0x7f3a52c0d3d0>", "<Model object at 0x7f3a52c0ffff>"),
    ("<function f at 0x7f3a52c0d3d0>", "<function f at 0x10dead>"),
    ("<bound method A.f of <A at 0x7f3a52c0d3d0>>", "<bound method A.f of <A at 0x7f3a52c0d3d1>>"),
    ("<cell at 0x7f01: A object at 0x7f02>", "<cell at 0x7f03: A object at 0x7f04>"),
    ("<weakref at 0x7f01; to 'A' at 0x7f02>", "<weakref at 0x7f03; to 'A' at 0x7f04>"),
    ('<code object f at 0x7f01, file "a", line 1>', '<code object f at 0x7f02, file "a", line 1>'),
    ("&lt;A at 0x7f3a52c0d3d0&gt;", "&lt;A at 0x7f3a52c0d3d1&gt;"),
    ("<A at 0x7f3a5...", "<A at 0x7f3b5..."),
    (
        "CPU times: total: 3 ms\nWall time: 1min 2s\nParser   : 200 ms",
        "CPU times: total: 0 ns\nWall time: 2 µs\nParser   : 1 s",
    ),
    ("{&#x27;me...me&#x27;: array([0.1...])", "{&#x27;me...me&#x27;: array([0.2...])"),
    (
        "CPU times: user 3 ms, sys: 0 ns, total: 3 ms\nWall time: 4 ms",
        "CPU times: user 4 ms, sys: 1 µs, total: 4 ms\nWall time: 5.1 s",
    ),
    (
        "1.2 ms ± 3.4 µs per loop (mean ± std. dev. of 7 runs, 1,000 loops each)",
        "981 µs ± 12 ns per loop (mean ± std. dev. of 7 runs, 100 loops each)",
    ),
    (
        "1min 3s ± 2.1 s per loop (mean ± std. dev. of 7 runs, 1 loop each)",
        "59 s ± 2 s per loop (mean ± std. dev. of 7 runs, 1 loop each)",
    ),
    ("epoch:  40%|####      | 2/5 [00:00<00:00, 12.3it/s]\r", "epoch:  40%|####      | 2/5 [00:01<00:02, 1.3s/it]\r"),
    ("/tmp/tmpab12/x.py:3: UserWarning", "/tmp/tmpcd34/x.py:3: UserWarning"),
    ("ipykernel_1234/99.py", "ipykernel_77/99.py"),
    ("8d1b2c3d-1111-2222-3333-444455556666", "00000000-1111-2222-3333-444455556666"),
    ("<dc:date>2026-01-01T00:00:00</dc:date>", "<dc:date>2027-01-01T10:00:00</dc:date>"),
    (
        '<path id="m0123456789ab"/><use xlink:href="#m0123456789ab"/>',
        '<path id="mba9876543210"/><use xlink:href="#mba9876543210"/>',
    ),
    ('<g clip-path="url(#p0123456789ab)"/>', '<g clip-path="url(#pfedcba987654)"/>'),
    ('<table id="T_0a1b2"><td id="T_0a1b2_row0_col0"', '<table id="T_fffff"><td id="T_fffff_row0_col0"'),
]


@pytest.mark.parametrize(("one", "other"), NOISE)
def test_noise_is_normalised(one: str, other: str) -> None:
    assert one != other
    assert normalised(one) == normalised(other)


RESULTS = [
    ("loss 0.123", "loss 0.124"),
    ("took 3 s", "took 4 s"),
    ("accuracy 40%", "accuracy 41%"),
    ("tensor([1.0000])", "tensor([1.0001])"),
    ("deadbeef", "deadbeee"),
    ("0x1f", "0x2f"),
    ("mask 0xdeadbeef", "mask 0xdeadbeee"),
    ("2026-01-01", "2026-01-02"),
    ("/home/me/a", "/home/me/b"),
    ('<td id="row0">1</td>', '<td id="row1">1</td>'),
    ("1.2 ms", "1.3 ms"),
    ("<Model object at 0x7f3a52c0d3d0> 1", "<Model object at 0x7f3a52c0d3d0> 2"),
    ("40% of 5 items/s", "41% of 5 items"),
    ("{'income': array([0.1, 0.2])}", "{'income': array([0.1, 0.3])}"),
    ("epoch 1 loss 0.1234 (120.5it/s)", "epoch 1 loss 0.1235 (120.5it/s)"),
    ("| dog | 93%| 17 |", "| dog | 93%| 18 |"),
    ("Wall time: 0.25 is my result", "Wall time: 0.26 is my result"),
    ("CPU times: 3", "CPU times: 4"),
    ("score at 0x1234abcd", "score at 0x1234abce"),
    ("score at 0x1234abcd, then", "score at 0x1234abce, then"),
    ("7it [a, b]", "8it [a, b]"),
]


@pytest.mark.parametrize(("one", "other"), RESULTS)
def test_results_are_not(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


DRAWN = [
    "{} 40%|####      | 2/5 [00:00<00:01, {}it/s{}]",
    "{}100%|██████████| 170M/170M [1:00:05<00:00, {}MB/s{}]",
    "{}  3%|▎         | 3/100 [1 day, 0:00:05<2 days, 1:00:07, {}s/batch{}]",
    "{}7it [00:01, {}it/s{}]",
    "{}1.5kB [00:01, {}kB/s{}]",
]


@pytest.mark.parametrize("drawn", DRAWN)
def test_of_a_bar_the_users_own_words_stay(drawn: str) -> None:
    words = ("loss 0.25: ", "12.5", ", acc=0.5")
    shown = normalised(drawn.format(*words))
    assert shown == normalised(drawn.format("loss 0.25: ", "1.25", ", acc=0.5"))
    assert shown != normalised(drawn.format("loss 0.26: ", "12.5", ", acc=0.5"))
    assert shown != normalised(drawn.format("loss 0.25: ", "12.5", ", acc=0.6"))


@pytest.fixture
def tired_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A clock for tqdm that goes as it likes, by a seed: how often bars are drawn depends on it."""

    def wind(seed: int) -> None:
        numbers, now = random.Random(seed), [1e9]

        def clock() -> float:
            now[0] += numbers.choice([0, 0.001, 0.02, 0.3, 5])
            return now[0]

        monkeypatch.setattr("tqdm.std.time", clock)

    return wind


def nested(file: io.StringIO, loss: float, **options: Any) -> None:
    for epoch in tqdm(range(3), desc="epochs", file=file, **options):
        inner = tqdm(range(6), desc=f"epoch {epoch}", file=file, **options)
        for _ in inner:
            inner.set_postfix(loss=loss, refresh=False)


def two_below_each_other(file: io.StringIO, loss: float, **options: Any) -> None:
    for _ in tqdm(range(3), file=file, **options):
        for _ in tqdm(range(6), desc=f"loss {loss}", file=file, **{**options, "leave": False}):
            pass


def written_between(file: io.StringIO, loss: float, **options: Any) -> None:
    for step in tqdm(range(9), file=file, **options):
        tqdm.write(f"step {step}: {loss}", file=file)


def printed_between(file: io.StringIO, loss: float, **options: Any) -> None:
    for step in tqdm(range(9), desc=f"loss {loss}", file=file, **options):
        print(f"step {step}", file=file)


def of_unknown_length(file: io.StringIO, loss: float, **options: Any) -> None:
    for _ in tqdm(iter(range(300)), file=file, postfix={"losses": [loss, 2.5]}, **options):
        pass


def told_before_and_after(file: io.StringIO, loss: float, **options: Any) -> None:
    print("before", file=file)
    for _ in tqdm(range(200), file=file, **options):
        pass
    print("after", loss, file=file)


LOOPS = [nested, two_below_each_other, written_between, printed_between, of_unknown_length, told_before_and_after]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"ascii": True},
    {"ascii": " .oO0", "colour": "green"},
    {"dynamic_ncols": True},
    {"ncols": 80},
    {"ncols": 0},
    {"unit_scale": True, "unit": "B"},
    {"unit_scale": 0.5, "unit": " images"},
    {"mininterval": 0, "miniters": 1},
    {"bar_format": "{l_bar}{bar:20}{r_bar}"},
    {"bar_format": "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("loop", LOOPS)
def test_tqdms_own_bars_are_noise_whatever_the_clock_says(
    loop: Callable[..., None], options: dict[str, Any], tired_clock: Callable[[int], None]
) -> None:
    """GIVEN one loop on two clocks THEN it reads the same; GIVEN another loss THEN it does not."""

    def read(seed: int, loss: float) -> str:
        file = io.StringIO()
        tired_clock(seed)
        loop(file, loss, **options)
        return normalised(file.getvalue())

    first = read(0, 0.5)
    for seed in range(1, 5):
        assert read(seed, 0.5) == first
    if loop is not two_below_each_other:  # whose loss is erased
        assert read(0, 0.25) != first


def test_a_bar_that_is_erased_leaves_nothing(tired_clock: Callable[[int], None]) -> None:
    file = io.StringIO()
    tired_clock(0)
    for total in (range(3), iter(range(3))):
        for leave in (True, False):
            for _ in tqdm(total, desc="loss 0.5", file=file, mininterval=0, postfix={"acc": 1}, leave=leave):
                pass
    print("done", file=file)
    assert normalised(file.getvalue()).split("\n") == [
        "loss 0.5:[progress bar 3/3, acc=1]",
        "loss 0.5: [progress bar 3it, acc=1]",
        "done",
        "",
    ]


COUNTS = [
    ("\r  5%|5  | 5/100 [00:00<00:02, 9.1it/s]\n", "\r  6%|6  | 6/100 [00:01<00:02, 8.1it/s]\n", False),
    ("\r  5%|5  | 5/100 [00:00<00:02, 9.1it/s]\n", "\r  5%|5  | 5/100 [00:01<00:02, 8.1it/s]\n", True),
    ("\r  5%|5  | 5/100 [00:00<00:02, 9.1it/s]x", "\r  6%|6  | 6/100 [00:01<00:02, 8.1it/s]x", True),  # never closed
    ("\r5it [00:00, 9.1it/s]\n", "\r6it [00:01, 9.1it/s]\n", False),
    ("96%|###| 3/5 [00:00<00:02, 9.1it/s]", "95%|###| 3/5 [00:00<00:02, 9.1it/s]", False),  # a user's own numbers
    ("acc 1it [3:7]", "acc 1it [3:8]", False),
]


@pytest.mark.parametrize(("one", "other", "is_noise"), COUNTS)
def test_where_a_closed_bar_stopped_is_a_result(one: str, other: str, *, is_noise: bool) -> None:
    assert (normalised(one) == normalised(other)) is is_noise


KERAS_2 = "{}10/10 [==========] - {}/step - loss: {}\n"
KERAS_3 = "{}\x1b[1m10/10\x1b[0m \x1b[32m━━━━━━\x1b[0m\x1b[37m\x1b[0m \x1b[1m{}/step - loss: {}\n"  # in colours
BEFORE_2 = " 1/10 [==>.......] - ETA: 9s - loss: 0.9\b\b\b\b\b\r"
BEFORE_3 = "\r\x1b[1m 1/10\x1b[0m \x1b[32m━━\x1b[0m\x1b[37m━━━━\x1b[0m \x1b[1m1:09\x1b[0m 20ms/step - loss: 0.9\b\b\b\r"
OTHER_BARS = [
    (KERAS_2, (BEFORE_2, "1s 20ms"), ("", "2s 35ms")),
    (KERAS_3, (BEFORE_3, "2s\x1b[0m 35ms"), ("\r", "1:09\x1b[0m 135ms")),
    ("{}━━━━━━━╸━━━━━━━ {} loss {}\n", ("", "100% 0:00:01"), ("", " 70% -:--:--")),
]


@pytest.mark.parametrize(("drawn", "one", "other"), OTHER_BARS)
def test_bars_of_keras_and_rich(drawn: str, one: tuple[str, str], other: tuple[str, str]) -> None:
    assert normalised(drawn.format(*one, 0.5)) == normalised(drawn.format(*other, 0.5))
    assert normalised(drawn.format(*one, 0.5)) != normalised(drawn.format(*one, 0.25))


BAR = "\r  0%|          | 0/10 [00:00<?, ?it/s]{}\r100%|██████████| 10/10 [00:01<00:00, {}it/s{}]\n"


@pytest.mark.parametrize("bar", [BAR, "\r0it [00:00, ?it/s]{}\r10it [00:01, {}it/s{}]\n"])
def test_a_progress_bar_is_noise_however_often_it_was_drawn_but_not_what_stands_behind_its_rate(bar: str) -> None:
    drawn = "\r 50%|█████     | 5/10 [00:00<00:00, 9.1it/s, loss=0.9]"
    assert normalised(bar.format("", "9.95", "")) == normalised(bar.format(drawn * 3, "1.2", ""))
    seen = normalised(bar.format(drawn, "9.95", ", loss=0.5"))
    assert seen == normalised(bar.format("", "8.1", ", loss=0.5"))
    assert seen != normalised(bar.format("", "8.1", ", loss=0.25"))
    assert "loss=0.5" in seen


@pytest.mark.parametrize(
    "piece",
    ["iVBORw0KGgo/", '{"x": [1.25, 1e5]}, ', "123", "1 s ", "5%|", "5it [00:01, ", "1/2 [00:01<00:02, ", "=====> "],
)
def test_a_line_of_megabytes_is_read_in_a_moment(piece: str) -> None:
    """Plots come as such; by a pattern that tries each place with each other one it would take hours."""
    text = piece * (1_000_000 // len(piece))
    assert normalised(text) == text


@pytest.mark.parametrize(
    ("drawn", "seen"),
    [
        (
            "\rloading\r 50%|##  | 1/2 [00:00<?, ?it/s]\r100%|####| 2/2 [00:01<00:00, 2it/s]\rdone\n",
            "\rloading[progress bar]done\n",
        ),
        ("a\r\r3it [00:01, 2it/s]\nb\rc", "a[progress bar 3it]\nb\rc"),
        ("1it [00:01, 2it/s, a=1]\r2it [00:01, 2it/s, a=2]\r\r\nx", "[progress bar 2it, a=2]\nx"),
        ("no\rbar\r", "no\rbar\r"),
    ],
)
def test_a_bar_takes_only_its_own_carriage_returns(drawn: str, seen: str) -> None:
    assert normalised(drawn) == seen


@pytest.mark.parametrize("text", ["acc 95%|loss|0.31", "hash=0x1234abcd", "weights 0xdeadbeef"])
def test_results_are_no_noise(text: str) -> None:
    assert normalised(text) == text


def scatter(figure: Any, _shift: float) -> None:
    axes = figure.subplots()
    axes.scatter(range(50), range(50), c=range(50), s=range(50), marker="^")
    axes.scatter(range(90), range(90), marker="o", alpha=0.5)
    figure.colorbar(axes.collections[0])


def lines(figure: Any, shift: float) -> None:
    axes = figure.subplots()
    axes.plot([1, 2, 3 + shift], "o--", label="one $x^2$")
    axes.plot([3, 1, 2], "s:", markevery=2)
    axes.errorbar([1, 2], [1, 2], yerr=[0.1, 0.2], capsize=3)
    axes.legend()


def image(figure: Any, shift: float) -> None:
    left, right = figure.subplots(1, 2)
    left.imshow([[1, 2 + shift], [3, 4]])
    right.imshow([[1, 2], [3, 4]], alpha=0.5, interpolation="bilinear")
    right.pcolormesh([[1, 2], [3, 4]], shading="gouraud")


def hatches(figure: Any, shift: float) -> None:
    axes = figure.subplots()
    axes.bar([1, 2], [3, 4 + shift], hatch=["//", "xx"])
    axes.contourf([[1, 2], [3, 4]], hatches=["-", "/"], colors="none")


def clipped(figure: Any, shift: float) -> None:
    axes = figure.subplots(subplot_kw={"projection": "polar"})
    (line,) = axes.plot([1, 2, 3 + shift])
    circle = mpl.patches.Circle((0, 0), 1, transform=axes.transData)
    line.set_clip_path(circle)


def solid(figure: Any, shift: float) -> None:
    axes = figure.add_subplot(projection="3d")
    axes.plot_surface(np.eye(4), np.eye(4).T, np.eye(4) * (2 + shift), cmap="viridis")
    axes.scatter([1], [2], [3])


FIGURES = [scatter, lines, image, hatches, clipped, solid]


def svg(draw: Callable[[Any, float], None], shift: float = 0.0, gid: str = "") -> str:
    figure, file = Figure(), io.StringIO()
    draw(figure, shift)
    figure.axes[0].set_gid(gid or None)
    figure.savefig(file, format="svg")
    return file.getvalue()


@pytest.mark.parametrize("fonttype", ["path", "none"])
@pytest.mark.parametrize("draw", FIGURES)
def test_of_matplotlibs_svg_only_its_ids_and_the_date_are_noise(
    draw: Callable[[Any, float], None], fonttype: str
) -> None:
    with mpl.rc_context({"svg.fonttype": fonttype}):
        one, other = svg(draw), svg(draw)
        assert one != other
        assert normalised(one) == normalised(other)
        assert normalised(svg(draw, gid="p0123456789")) != normalised(svg(draw, gid="p9876543210")), "the user's"
        if draw is not scatter:
            assert normalised(svg(draw, 0.5)) != normalised(one)


def test_which_marker_stands_where_is_no_noise() -> None:
    def two(figure: Any, shift: float) -> None:
        axes = figure.subplots()
        axes.plot([1], [1], "o", [2], [2], "o", [1], [2], "s", [3], [3], "s" if shift else "o", c="k")

    used = re.compile(r'<use xlink:href="#\[svg id (\d+)]" x="')
    one, other = normalised(svg(two)), normalised(svg(two, 1.0))
    assert one != other
    assert used.findall(one) != used.findall(other)


RESULTS_IN_PAGES = [
    '<a href="#{}">',
    '<p id="{}">',
    '<g id="p{}"/>',
    '<p id="altair-{}">',
    '<p id="result_{}">',
    "map {}",
    'fill="{}"',
    'href="{}"',
]


@pytest.mark.parametrize("text", RESULTS_IN_PAGES)
@pytest.mark.parametrize("digits", [10, 12, 32, 64])
def test_a_hash_is_a_result(text: str, digits: int) -> None:
    assert normalised(text.format("a" * digits)) != normalised(text.format("b" * digits))


PAGES = [
    ('<div id="altair-viz-{0}"></div><script>document.getElementById("altair-viz-{0}")</script>', "{:032x}"),
    (
        '<table id="itables_{0}"></table><script>new ITable("#itables_{0}")</script>',
        "{:08x}_1111_2222_3333_444455556666",
    ),
    ('<div id="map_{0}"></div><script>var map_{0} = L.map("map_{0}")</script>', "{:032x}"),
    (
        '<div id="{0}" class="plotly-graph-div"></div><script>Plotly.newPlot("{0}")',
        "{:08x}-1111-2222-3333-444455556666",
    ),
]


@pytest.mark.parametrize(("page", "name"), PAGES)
def test_what_libraries_name_parts_of_a_page_is_noise(page: str, name: str) -> None:
    one, other = page.format(name.format(3)), page.format(name.format(4))
    assert one != other
    assert normalised(one) == normalised(other)


def test_a_styled_frame_differs_by_noise_only() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    one, other = (frame.style.highlight_max().to_html() for _ in range(2))
    assert one != other
    assert normalised(one) == normalised(other)
    assert normalised(one) != normalised((frame + 1).style.highlight_max().to_html())
