"""What results depend on besides the notebook: recorded, and compared."""

from __future__ import annotations

import copy
import getpass
import json
import platform
import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch
from conftest import run_in_kernel
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell as Shell
from IPython.utils.capture import capture_output
from typer.testing import CliRunner

from repro_magic.cli import app
from repro_magic.exceptions import InvalidEnvironmentError
from repro_magic.proof.environment import MIME, SECTIONS, checked, differences, environment
from repro_magic.proof.variables import _FORMS, NOT_RECORDED, recorded

cli = CliRunner()


def test_it_names_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("TORCH_HOME", "/somewhere/of/mine")
    monkeypatch.setenv("MY_TORCH_SECRET", "hush")
    torch.backends.cudnn.benchmark = True
    found = environment()
    assert found["torch"]["version"] == torch.__version__
    assert found["packages"]["numpy"] == np.__version__
    assert found["threads"]["of one op"] == str(torch.get_num_threads())
    assert found["switches"]["torch.backends.cudnn.benchmark"] == "True"
    assert found["variables"]["OMP_PROC_BIND"] == "close"
    assert "OMP_WAIT_POLICY" not in found["variables"], "how threads wait changes no result"
    assert found["cpu"]["model"]
    assert list(found) == ["schema", *SECTIONS]
    assert checked(json.loads(json.dumps(found))) == found


def test_it_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where, nor when: it may be published, and a second run of the notebook is to give the same."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("TORCH_HOME", "/somewhere/of/mine")
    monkeypatch.setenv("MY_TORCH_SECRET", "hush")
    told = json.dumps(environment())
    for private in ("/somewhere", "hush", platform.node(), str(Path.home()), f'"{getpass.getuser()}"'):
        assert re.search(rf"(?<!\w){re.escape(private)}(?!\w)", told) is None
    assert json.dumps(environment()) == told


TOKEN = "hf_hXkQzPlWvRtYbNmCdEfGaSjUoI"  # noqa: S105 - nobody's
# Names that begin as those of libraries do, and names that are recorded, with values that nobody wants to publish.
HOSTILE = {
    "TORCH_HUB_TOKEN": TOKEN,
    "CUDA_API_KEY": TOKEN,
    "MKL_LICENSE_KEY": TOKEN,
    "NCCL_HOSTID": "node17.cluster.example.org",
    "NCCL_SOCKET_IFNAME": "secret0",
    "OMP_SECRET": TOKEN,
    "PYTORCH_PASSWORD": "12345678",
    "OMP_NUM_THREADS": TOKEN,
    "OMP_PLACES": "/home/jane/places",
    "OMP_PROC_BIND": "close;jane@example.org",
    "CUDA_VISIBLE_DEVICES": "GPU-7f3a52c0-d3d0-4b1c-9e7f-jane",
    "KMP_AFFINITY": "proclist=[jane]",
    "MKL_DOMAIN_NUM_THREADS": "jane=4",
    "GOMP_CPU_AFFINITY": "10.0.0.17",
    "OPENBLAS_CORETYPE": "node17",
    "NCCL_ALGO": "Ring\nTOKEN=" + TOKEN,
    "ATEN_CPU_CAPABILITY": "avx2 " + TOKEN,
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8 jane",
    "PYTHONHASHSEED": "jane",
    "MKL_CBWR": "C:\\Users\\jane",
}


def test_no_variable_publishes_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    told = environment()["variables"]
    assert set(told.values()) <= {NOT_RECORDED}
    assert not {"TORCH_HUB_TOKEN", "CUDA_API_KEY", "MKL_LICENSE_KEY", "NCCL_HOSTID", "PYTORCH_PASSWORD"} & set(told)


@given(name=st.sampled_from(sorted(_FORMS)), value=st.text(max_size=30).filter(str.isalpha))
def test_no_word_that_is_not_on_the_list_is_told(name: str, value: str) -> None:
    told = recorded({name: value})[name]
    assert told == NOT_RECORDED or value.lower() in _FORMS[name].lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OMP_NUM_THREADS", "4,2"),
        ("OMP_SCHEDULE", "monotonic:dynamic,4"),
        ("OMP_PLACES", "{0:4},{4:4}"),
        ("OMP_PLACES", "cores(4)"),
        ("KMP_AFFINITY", "granularity=fine,compact,1,0"),
        ("MKL_CBWR", "AVX2,STRICT"),
        ("ATEN_CPU_CAPABILITY", "avx512"),
        ("OPENBLAS_CORETYPE", "SkylakeX"),
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8:16:8"),
        ("CUDA_VISIBLE_DEVICES", "0,1"),
        ("NVIDIA_TF32_OVERRIDE", "0"),
        ("NCCL_ALGO", "^Tree"),
        ("PYTHONHASHSEED", "random"),
    ],
)
def test_what_changes_results_is_told(name: str, value: str) -> None:
    assert recorded({name: value}) == {name: value}


def changed(section: str, name: str, value: str | None) -> dict[str, Any]:
    made = copy.deepcopy(environment())
    if value is None:
        del made[section][name]
    else:
        made[section][name] = value
    return made


def test_differences_that_change_results_come_first() -> None:
    other = changed("packages", "torch", None)
    other["torch"]["version"] = "2.9.0"
    other["cpu"]["capability"] = "of another machine"
    found = differences(environment(), other)
    assert [(one.section, one.name, one.second) for one in found] == [
        ("torch", "version", "2.9.0"),
        ("cpu", "capability", "of another machine"),
        ("packages", "torch", None),
    ]
    assert differences(other, other) == []


FORGED = {
    "not JSON": "{",
    "empty": "",
    "a list": "[]",
    "no schema": "{}",
    "newer": json.dumps({"schema": "repro-magic.environment.v2"}),
    "no sections": json.dumps({"schema": "repro-magic.environment.v1"}),
    "numbers": json.dumps({"schema": "repro-magic.environment.v1", **{one: {"a": 1} for one in SECTIONS}}),
    "a notebook without": json.dumps({"cells": [], "nbformat": 4}),
    "a forged notebook": json.dumps({"cells": [{"outputs": [{"data": {MIME: [1]}}, 3]}, 4, {"outputs": None}]}),
    "a notebook that is none": json.dumps({"cells": "all"}),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_is_no_environment_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "with space é.json"
    path.write_text(FORGED[name])
    done = cli.invoke(app, ["env", "--diff", str(path), str(path)])
    assert done.exit_code == 2
    assert done.stderr.startswith("repro-magic: ")
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    done = cli.invoke(app, ["env", "--diff", str(tmp_path / "none"), str(tmp_path)])
    assert done.exit_code == 2
    assert "none" in done.stderr


def test_the_command_writes_and_compares(tmp_path: Path) -> None:
    done = cli.invoke(app, ["env", "--json"])
    assert done.exit_code == 0
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    here.write_text(done.stdout)
    there.write_text(json.dumps(changed("torch", "version", "2.9.0")))
    same = cli.invoke(app, ["env", "--diff", str(here), str(here)])
    assert (same.exit_code, same.stdout) == (0, "The environments are the same.\n")
    other = cli.invoke(app, ["env", "--diff", str(here), str(there)])
    assert other.exit_code == 1
    assert "2.9.0" in other.stdout
    listed = json.loads(cli.invoke(app, ["env", "--json", "--diff", str(here), str(there)]).stdout)
    assert {"section": "torch", "name": "version", "first": torch.__version__, "second": "2.9.0"} in listed
    assert "capability" in cli.invoke(app, ["env"]).stdout


def test_the_help_says_what_it_does() -> None:
    assert "env" in cli.invoke(app, ["--help"]).stdout
    told = cli.invoke(app, ["env", "--help"]).stdout
    for part in ("--json", "--diff", "exit code"):
        assert part in told
    assert cli.invoke(app, ["env", "--nonsense"]).exit_code == 2


def test_a_foreign_shape_of_it_is_refused_by_the_function() -> None:
    with pytest.raises(InvalidEnvironmentError, match="no environment"):
        differences({}, environment())


def test_the_magic_shows_and_records_it(loaded: Shell) -> None:
    with capture_output() as captured:
        loaded.run_line_magic("repro_env", "")
    [output] = captured.outputs
    assert checked(output.data[MIME])["torch"]["version"] == torch.__version__
    assert torch.__version__ in output.data["text/plain"]
    assert "<table" in output.data["text/html"]


@pytest.mark.kernel
def test_a_notebook_carries_its_environment(tmp_path: Path) -> None:
    ran = run_in_kernel("%load_ext repro_magic\nimport torch", "%repro_env")
    path = tmp_path / "carries.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=ran._cells), path)
    done = cli.invoke(app, ["env", "--diff", str(path), str(path)])
    assert (done.exit_code, done.stdout) == (0, "The environments are the same.\n")


def test_a_distribution_that_lost_its_metadata_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken-1.0.dist-info").mkdir()
    (tmp_path / "broken-1.0.dist-info" / "top_level.txt").write_text("json")
    monkeypatch.syspath_prepend(tmp_path)
    assert "broken" not in environment()["packages"]
