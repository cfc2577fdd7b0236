"""What others need to run a notebook: planned, and pinned."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from share_makers import HERE, SECRET, everything, git, made_of, notebook_in, planned, requirements, told

from repro_magic.exceptions import ShareError
from repro_magic.proof.run.notebook_file import load
from repro_magic.proof.share import placing, share
from repro_magic.views.share import shared


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that installs a distribution which is only its metadata."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def one(name: str, source: dict[str, Any] | str | None, version: str = "1.0", installer: str = "pip") -> None:
        folder = site / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (folder / "INSTALLER").write_text(f"{installer}\n")
        if source is not None:
            (folder / "direct_url.json").write_text(source if isinstance(source, str) else json.dumps(source))

    return one


def test_what_ran_is_pinned_and_cpu_wheels_are_taken(tmp_path: Path) -> None:
    plan = planned(notebook_in(tmp_path), packages={"torch": "2.9.0+cu128", "NumPy": "2.1.0", "a.b-c_d": "1!2.0rc1"})
    lines = [line for line in requirements(plan) if not line.startswith("#")]
    assert lines[:4] == [
        "--extra-index-url https://download.pytorch.org/whl/cpu",
        "a.b-c_d==1!2.0rc1",
        "NumPy==2.1.0",
        "torch==2.9.0",
    ]
    assert "torch 2.9.0+cu128 ran; Binder gets the CPU build of 2.9.0." in told(plan)
    assert plan.files["binder/runtime.txt"].text == "python-3.12\n"
    assert plan.files["study.repro.json"].text == "{}\n"


def test_without_torch_there_is_no_index_of_its_wheels(tmp_path: Path) -> None:
    plan = planned(notebook_in(tmp_path), packages={"numpy": "2.1.0"})
    assert "download.pytorch.org" not in everything(plan)


def test_a_nightly_release_comes_from_its_own_index(tmp_path: Path) -> None:
    plan = planned(notebook_in(tmp_path), packages={"torch": "2.10.0.dev20251001+cpu"})
    assert "--extra-index-url https://download.pytorch.org/whl/nightly/cpu" in requirements(plan)


def test_a_build_of_its_own_is_told(tmp_path: Path) -> None:
    plan = planned(notebook_in(tmp_path), packages={"torch": "2.6.0a0+ecf3bae40a.nv25.01"})
    assert "torch==2.6.0a0" in requirements(plan)
    assert "a build of its own" in told(plan)


def test_the_kernel_and_what_needs_a_gpu_are_left_out(tmp_path: Path) -> None:
    packages = {
        "ipykernel": "7.0",
        "jupyter_client": "8.6",
        "nvidia-cublas-cu12": "12.8",
        "triton": "3.5",
        "rich": "15",
    }
    plan = planned(notebook_in(tmp_path), packages=packages)
    pinned = [line for line in requirements(plan) if "==" in line]
    assert [line for line in pinned if not line.startswith("repro-magic")] == ["rich==15"]
    assert "Left out, for they do not work there: nvidia-cublas-cu12, triton." in told(plan)


@pytest.mark.parametrize("packages", [{"numpy\nevil": "1.0"}, {"numpy": "1.0 --index-url https://evil"}, {"-e": "1"}])
def test_what_is_no_requirement_is_refused(tmp_path: Path, packages: dict[str, str]) -> None:
    with pytest.raises(ShareError, match="cannot be pinned"):
        planned(notebook_in(tmp_path), packages=packages)


def test_what_proves_is_always_among_the_requirements(tmp_path: Path) -> None:
    assert any("repro-magic" in line for line in requirements(planned(notebook_in(tmp_path)))[3:])


@pytest.mark.parametrize("editable", [True, False])
def test_a_distribution_of_the_notebooks_repository_is_installed_from_it(
    tmp_path: Path, install: Any, *, editable: bool
) -> None:
    root = tmp_path / "my repository"
    (root / ".git").mkdir(parents=True)
    install("ours", {"url": root.as_uri(), "dir_info": {"editable": editable}})
    install("sub", {"url": (root / "packages" / "sub").as_uri(), "dir_info": {"editable": editable}})
    # Python cannot tell the modules of an editable distribution, so an environment does not name it.
    packages = {} if editable else {"ours": "1.0", "sub": "1.0"}
    plan = planned(notebook_in(root / "notebooks"), packages=packages)
    assert [line for line in requirements(plan) if line.startswith(".")] == [".", "./packages/sub"]
    assert "others cannot get it" not in "".join(note for note in plan.notes if "repro-magic" not in note)


def test_another_local_folder_is_told_and_its_path_is_not(tmp_path: Path, install: Any) -> None:
    elsewhere = tmp_path / "secret place"
    install("theirs", {"url": elsewhere.as_uri(), "dir_info": {}})
    plan = planned(notebook_in(tmp_path / "here"), packages={"theirs": "1.0"})
    assert "# theirs 1.0: installed from a local folder" in requirements(plan)
    assert "theirs 1.0 is installed from a local folder: others cannot get it." in told(plan)
    assert "secret" not in everything(plan)


def test_an_editable_distribution_elsewhere_counts_if_the_notebook_imports_it(
    tmp_path: Path, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("named", "unnamed"):
        (tmp_path / name / "src" / f"{name}_module").mkdir(parents=True)
        (tmp_path / name / "src" / f"{name}_module" / "__init__.py").touch()
        monkeypatch.syspath_prepend(str(tmp_path / name / "src"))
        install(name, {"url": (tmp_path / name).as_uri(), "dir_info": {"editable": True}})
    source = "import numpy as np, named_module.part as part  # unnamed_module\n%matplotlib inline"
    plan = planned(notebook_in(tmp_path / "here", source=source))
    assert "# named 1.0: installed from a local folder" in requirements(plan)
    assert "unnamed" not in everything(plan)


def test_a_commit_is_pinned_without_its_token(tmp_path: Path, install: Any) -> None:
    commit = {"vcs": "git", "commit_id": "0a1b2c"}
    install("web", {"url": f"https://me:{SECRET}@example.org/a/web.git", "vcs_info": commit, "subdirectory": "py"})
    install("ssh", {"url": "ssh://git@example.org:2222/a/ssh.git", "vcs_info": commit})
    install("local", {"url": "file:///srv/secret/local.git", "vcs_info": commit})
    plan = planned(notebook_in(tmp_path / "here"), packages={"web": "1.0", "ssh": "1.0", "local": "1.0"})
    assert "web @ git+https://example.org/a/web.git@0a1b2c#subdirectory=py" in requirements(plan)
    assert "ssh @ git+https://example.org/a/ssh.git@0a1b2c" in requirements(plan)
    assert "# local 1.0: installed from a repository on this machine" in requirements(plan)
    assert "secret" not in everything(plan)


def test_an_archive_is_pinned_without_its_token(tmp_path: Path, install: Any) -> None:
    install("web", {"url": f"https://{SECRET}@example.org/web-1.0.zip?token={SECRET}#x", "archive_info": {}})
    install("local", {"url": "file:///srv/secret/local-1.0.whl", "archive_info": {}})
    plan = planned(notebook_in(tmp_path / "here"), packages={"web": "1.0", "local": "1.0"})
    assert "web @ https://example.org/web-1.0.zip" in requirements(plan)
    assert "# local 1.0: installed from a file on this machine" in requirements(plan)
    assert "secret" not in everything(plan)


def test_what_is_installed_here_counts_only_if_it_is_what_ran(tmp_path: Path, install: Any) -> None:
    install("moved", {"url": tmp_path.as_uri(), "dir_info": {}}, version="2.0")
    install("conda-built", {"url": "file:///home/conda/feedstock_root/x", "dir_info": {}}, installer="conda")
    install("broken", "{")
    packages = {"moved": "1.0", "conda-built": "1.0", "broken": "1.0"}
    plan = planned(notebook_in(tmp_path / "here"), packages=packages)
    assert {"moved==1.0", "conda-built==1.0", "broken==1.0"} <= set(requirements(plan))


def started(plan: share.Plan, folder: Path, *names: str) -> list[str]:
    """The variables of a program that the script starts."""
    placing.write(plan, folder, force=False)
    check = f"import os; print([os.environ.get(name) for name in {names}])"
    command = [str(folder / "binder" / "start"), sys.executable, "-c", check]
    clean = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean)
    return list(json.loads(done.stdout.replace("'", '"').replace("None", "null")))


def test_the_script_sets_what_was_recorded(tmp_path: Path) -> None:
    names = ("PYTHONHASHSEED", "CUBLAS_WORKSPACE_CONFIG", "OMP_NUM_THREADS", "MKL_CBWR", "CUDA_VISIBLE_DEVICES")
    plan = planned(
        notebook_in(tmp_path),
        variables={"MKL_CBWR": "AVX2,STRICT", "CUDA_VISIBLE_DEVICES": "0", "PYTHONHASHSEED": "42"},
    )
    assert started(plan, tmp_path, *names) == ["0", ":4096:8", "4", "AVX2,STRICT", None]


def test_recorded_hashes_and_threads_of_the_start_are_kept(tmp_path: Path) -> None:
    python = {"version": "3.11.7", "implementation": "CPython", "string hashes": "fixed to 7"}
    plan = planned(notebook_in(tmp_path), python=python, variables={"OMP_NUM_THREADS": "1"})
    assert started(plan, tmp_path, "PYTHONHASHSEED", "OMP_NUM_THREADS") == ["7", "1"]


def test_no_record_makes_the_script_run_something_else(tmp_path: Path) -> None:
    python = {"version": "3.11.7", "implementation": "CPython", "string hashes": "fixed to 7; touch evil"}
    threads, variables = {"of one op": "4$(touch evil)"}, {"OMP_SCHEDULE": "$(touch evil)`touch evil`"}
    plan = planned(notebook_in(tmp_path), python=python, threads=threads, variables=variables)
    assert "evil" not in plan.files["binder/start"].text
    assert started(plan, tmp_path, "PYTHONHASHSEED") == ["0"]
    assert not list(Path.cwd().glob("evil"))


def test_the_notes_are_honest(tmp_path: Path) -> None:
    path = notebook_in(tmp_path)
    assert "Binder has no GPU: only receipts of a CPU can be proved there." in told(planned(path))
    assert "This run had a GPU" not in told(planned(path, accelerators={"cuda": "2 not started"}))
    on_gpu = planned(path, accelerators={"cuda:0": "NVIDIA H100, 132 SMs, sm_90"})
    assert "This run had a GPU (NVIDIA H100, 132 SMs, sm_90): its results cannot be proved on Binder." in told(on_gpu)
    mac = planned(path, cpu={"machine": "arm64", "model": "Apple M3"}, system={"name": "Darwin"})
    assert "the record is of Darwin on arm64" in told(mac)


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("https://github.com/me/study.git", "gh/me/study"),
        (f"https://me:{SECRET}@github.com/me/study", "gh/me/study"),
        (f"https://{SECRET}@GitHub.com/me/study.git/", "gh/me/study"),
        (f"https://me:p@{SECRET}@github.com/me/study.git", "gh/me/study"),
        (f"https://github.com/me/study.git?private_token={SECRET}", "gh/me/study"),
        ("git@github.com:me/study.git", "gh/me/study"),
        ("ssh://git@github.com:22/me/study.git", "gh/me/study"),
        (f"https://oauth2:{SECRET}@gitlab.com/group/sub/study.git", "gl/group%2Fsub%2Fstudy"),
        (f"https://me:{SECRET}@internal.example.org/me/study.git", "gh/OWNER/REPOSITORY"),
        (f"https://me:{SECRET}@github.com:port/me/study.git", "gh/OWNER/REPOSITORY"),
        (f"https://github.com.evil.org/{SECRET}/study", "gh/OWNER/REPOSITORY"),
        ("https://github.com/me/study)(x", "gh/OWNER/REPOSITORY"),
        ("/srv/secret/study.git", "gh/OWNER/REPOSITORY"),
        ("C:\\secret\\study", "gh/OWNER/REPOSITORY"),
    ],
)
def test_the_badge_is_that_of_the_repository_and_tells_no_secret(tmp_path: Path, address: str, place: str) -> None:
    root = tmp_path / "repository"
    path = notebook_in(root / "notebooks")
    git(root, "init", "--quiet")
    git(root, "remote", "add", "origin", address)
    plan = planned(path)
    assert plan.badge == (
        f"[![Binder](https://mybinder.org/badge_logo.svg)]"
        f"(https://mybinder.org/v2/{place}/HEAD?labpath=notebooks%2Fstudy.ipynb)"
    )
    assert ("put yours in place of OWNER/REPOSITORY" in told(plan)) == ("OWNER" in place)
    assert "secret" not in everything(plan)
    given = share.plan(load(path), made_of(), "{}", repository=address, ref="a branch/part")
    assert f"/v2/{place}/a%20branch/part?labpath=" in given.badge


def test_no_repository_and_no_git_give_placeholders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notebook_in(tmp_path)
    assert "OWNER/REPOSITORY" in planned(path).badge
    monkeypatch.setenv("PATH", "")
    assert "OWNER/REPOSITORY" in planned(path).badge


def test_a_hook_of_another_repository_does_not_lead_astray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    git(other, "remote", "add", "origin", "https://github.com/other/one")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert "other" not in planned(notebook_in(tmp_path / "here")).badge


@pytest.mark.parametrize(
    "name", ["with space (1) [x].ipynb", "Prüfung 研究.ipynb", "a'b\"c$(d)&e#f.ipynb", "coding: x.ipynb"]
)
def test_odd_names(tmp_path: Path, name: str) -> None:
    from urllib.parse import parse_qs, urlsplit

    (tmp_path / ".git").mkdir()
    plan = planned(notebook_in(tmp_path / "ü b", name))
    address = plan.badge.removesuffix(")").rpartition("(")[2]
    assert parse_qs(urlsplit(address).query) == {"labpath": [f"ü b/{name}"]}
    assert all(line.isascii() for line in requirements(plan))
    written = placing.write(plan, tmp_path, force=False)
    assert tmp_path / "ü b" / name.replace(".ipynb", ".repro.json") in written


def test_a_name_of_several_lines_adds_no_requirement(tmp_path: Path) -> None:
    plan = planned(notebook_in(tmp_path, "a\nevil==1.0\n.ipynb"))
    assert not [line for line in requirements(plan) if "evil" in line]


def test_the_root_is_that_of_the_repository_also_of_a_worktree(tmp_path: Path) -> None:
    path = notebook_in(tmp_path / "a" / "b")
    assert share.root_of(path) == tmp_path / "a" / "b"
    assert share.root_of(path, tmp_path) == tmp_path, "what is written there finds the notebook below it"
    assert share.root_of(path, tmp_path / "elsewhere") == tmp_path / "a" / "b"
    (tmp_path / "a" / ".git").write_text("gitdir: elsewhere")
    assert share.root_of(path) == tmp_path / "a"


def test_what_is_told(tmp_path: Path) -> None:
    plan = planned(notebook_in(tmp_path))
    text = shared(plan, tmp_path, placing.write(plan, tmp_path, force=False)).text()
    assert text.count("written") == len(plan.files)
    assert f"\n{plan.badge}\n" in text
    assert "Binder has no GPU" in text
    again = shared(plan, tmp_path, placing.write(plan, tmp_path, force=False)).text()
    assert again.count("unchanged") == len(plan.files)


def test_the_plan_names_no_place_of_this_machine(tmp_path: Path) -> None:
    plan = share.plan(load(notebook_in(tmp_path)), HERE, "{}\n")
    for private in (str(tmp_path), str(Path.home()) + os.sep, os.sep + "work" + os.sep):
        assert private not in everything(plan)
    assert shutil.which("git") is None or "OWNER" in plan.badge


def test_what_ran_is_what_is_shared(tmp_path: Path) -> None:
    """The notebook is read once: its user may save another version while it runs."""
    path = notebook_in(tmp_path)
    file = load(path)
    expected = share.plan(file, HERE, "{}\n")
    path.unlink()
    assert share.plan(file, HERE, "{}\n") == expected
