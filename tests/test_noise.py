"""What counts as noise, and what must not."""

from __future__ import annotations

import io

import pytest
from tqdm import tqdm

from repro_magic.proof.noise import normalised

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


def test_tqdm_itself_draws_such_bars() -> None:
    file = io.StringIO()
    for total in (range(3), iter(range(3))):
        for leave in (True, False):
            for _ in tqdm(total, desc="loss 0.5", file=file, mininterval=0, postfix={"acc": 1}, leave=leave):
                pass
    counted, *uncounted = normalised(file.getvalue()).split("\n")
    assert counted == "loss 0.5:[progress bar, acc=1]"
    assert uncounted == ["loss 0.5: [progress bar, acc=1]"] * 2


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
        ("a\r\r3it [00:01, 2it/s]\nb\rc", "a[progress bar]\nb\rc"),
        ("1it [0:1, 2it/s, a=1]\r2it [0:1, 2it/s, a=2]\r\r\nx", "[progress bar, a=2]\nx"),
        ("no\rbar\r", "no\rbar\r"),
    ],
)
def test_a_bar_takes_only_its_own_carriage_returns(drawn: str, seen: str) -> None:
    assert normalised(drawn) == seen


@pytest.mark.parametrize("text", ["acc 95%|loss|0.31", "hash=0x1234abcd", "weights 0xdeadbeef"])
def test_results_are_no_noise(text: str) -> None:
    assert normalised(text) == text
