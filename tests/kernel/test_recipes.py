"""The recipes of docs/howto, each run with the library itself: what is resumed ends with the same bits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

pytestmark = pytest.mark.kernel  # a process each, and some start more

GUIDES = ROOT / "docs" / "howto"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# A dataset whose generator no global seed reaches, and a model that draws from the global one.
DATA = """
import json, os, sys, warnings
import numpy as np, torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
import repro_magic

class Noisy(Dataset):
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
    def __len__(self):
        return 32
    def __getitem__(self, index):
        x = index / 32 + torch.tensor(self.rng.normal(size=4), dtype=torch.float32)
        return {"x": x, "labels": x.sum(0, keepdim=True)}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    def forward(self, x, labels):
        return {"loss": nn.functional.mse_loss(self.layers(x), labels)}

def step(batch):
    optimizer.zero_grad()
    model(**batch)["loss"].backward()
    optimizer.step()

def tell(value):
    print(json.dumps(value))
"""


def blocks(heading: str) -> list[str]:
    """The code under a heading of the guides."""
    guides = "\n".join(path.read_text(encoding="utf-8") for path in sorted(GUIDES.glob("*.md")))
    [section] = re.findall(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", guides, re.MULTILINE | re.DOTALL)
    return CODE.findall(section)


def run(folder: Path, *parts: str) -> Any:
    """Run code in a process of its own, and take what it tells last."""
    script = folder / "script.py"
    script.write_text("\n".join(parts))
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder), "IPYTHONDIR": str(folder), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", str(script)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, cwd=folder, env={**os.environ, **offline}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


PLAIN = """
def begin(seed):
    global data, model, optimizer
    repro_magic.seed_everything(seed)
    data, model = Noisy(seed), Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
"""


def test_plain_pytorch_resumes_between_epochs(tmp_path: Path) -> None:
    recipe = blocks("Plain PyTorch")[0]
    use = """
def train(epochs):
    for epoch in epochs:
        for batch in loader:
            step(batch)
        if epoch == 1 and not os.path.exists("a.pt"):
            save("a.pt", epoch=epoch)
    return repro_magic.digest(model).hex

ends = [train(range(4))]
for seed in (2, 1):
    begin(seed)
    exec(recipe)
    if seed == 1:
        repro_magic.set_rng_state = lambda *_, **__: None
    ends.append(train(range(resume("a.pt")["epoch"] + 1, 4)))
tell(ends)
"""
    whole, resumed, without = run(tmp_path, DATA, PLAIN, "begin(1)", f"recipe = {recipe!r}", "exec(recipe)", use)
    assert resumed == whole
    assert without != whole


@pytest.mark.parametrize("workers", [0, 2])
def test_plain_pytorch_resumes_within_an_epoch(tmp_path: Path, workers: int) -> None:
    recipe = "\n".join(blocks("Plain PyTorch")).replace("batch_size=8", f"batch_size=8, num_workers={workers}")
    use = """
def train(epochs, kept=None):
    for epoch in epochs:
        for batch, place in batches(kept):
            step(batch)
            if (epoch, place["done"]) == (1, 2) and not os.path.exists("a.pt"):
                save("a.pt", epoch=epoch, **place)
        kept = None
    return repro_magic.digest(model).hex

ends = [train(range(3))]
begin(2)
exec(recipe)
kept = resume("a.pt")
ends.append(train(range(kept["epoch"], 3), kept))
begin(2)
exec(recipe)
ends.append(train(range(resume("a.pt")["epoch"], 3)))
tell(ends)
"""
    whole, resumed, from_its_start = run(tmp_path, DATA, PLAIN, "begin(1)", f"recipe = {recipe!r}", "exec(recipe)", use)
    assert resumed == whole
    assert from_its_start != whole


def test_lightning_resumes(tmp_path: Path) -> None:
    use = """
from lightning.pytorch.callbacks import ModelCheckpoint

class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()
    def training_step(self, batch, _number):
        return self.net(**batch)["loss"]
    def validation_step(self, batch, _number):
        self.log("loss", self.net(**batch)["loss"])
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)

def train(seed, folder, callbacks=True, path=None):
    repro_magic.seed_everything(seed)
    data, module = Noisy(seed), Module()
    loader = DataLoader(data, batch_size=8, shuffle=True, **repro_magic.loader_options(seed))
    keep = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    own = [Generators(order=loader.generator, noise=data.rng)] if callbacks else []
    trainer = lightning.Trainer(
        max_epochs=4, callbacks=[keep, *own], logger=False, accelerator="cpu", devices=1,
        enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(module, loader, DataLoader(Noisy(0), batch_size=8), ckpt_path=path, weights_only=True)
    return repro_magic.digest(module).hex

tell([train(1, "a"), train(2, "b", path="a/epoch=1.ckpt"), train(1, "c", callbacks=False, path="a/epoch=1.ckpt")])
"""
    whole, resumed, without = run(tmp_path, DATA, *blocks("Lightning"), use)
    assert resumed == whole
    assert without != whole


TRAINER = """
import transformers
from transformers import Trainer, TrainingArguments
transformers.logging.set_verbosity_error()
repro_magic.seed_everything(1)
"""
ARGUMENTS = """
def arguments(**more):
    return TrainingArguments("a", report_to="none", use_cpu=True, disable_tqdm=True, logging_strategy="no", **more)
"""


def test_the_hf_trainer_resumes(tmp_path: Path) -> None:
    use = """
def train(callbacks=(), path=None):
    options = arguments(num_train_epochs=4, per_device_train_batch_size=8, save_strategy="epoch", seed=1,
                        restore_callback_states_from_checkpoint=bool(callbacks))
    trainer = Trainer(Net(), options, train_dataset=data, callbacks=list(callbacks))
    trainer.train(resume_from_checkpoint=path)
    return repro_magic.digest(trainer.model).hex

path = "a/checkpoint-8"
whole = train([Generators])
data.rng.bit_generator.state = np.random.default_rng(9).bit_generator.state
resumed = train([Generators], path)
data.rng.bit_generator.state = np.random.default_rng(1).bit_generator.state
tell([whole, resumed, train(path=path)])
"""
    [recipe] = blocks("Hugging Face Trainer")
    whole, resumed, without = run(tmp_path, DATA, "data = Noisy(1)", recipe, TRAINER, ARGUMENTS, use)
    assert resumed == whole
    assert without != whole


def test_what_is_said_of_the_hf_trainer(tmp_path: Path) -> None:
    use = """
seen = []

class Plain(Dataset):
    def __len__(self):
        return 16
    def __getitem__(self, index):
        seen.append(index)
        return {"x": torch.ones(4), "labels": torch.ones(1)}

def order(**seeds):
    seen.clear()
    trainer = Trainer(Net(), arguments(save_strategy="no", num_train_epochs=1, **seeds), train_dataset=Plain())
    repro_magic.seed_everything(seeds["seed"] + len(seeds))
    trainer.train()
    return list(seen)

Trainer(Net(), arguments(), train_dataset=Plain())
seeded = torch.initial_seed()
orders = [order(seed=1), order(seed=2), order(seed=1, data_seed=3), order(seed=2, data_seed=3)]
switched = [torch.are_deterministic_algorithms_enabled()]
with repro_magic.deterministic():
    Trainer(Net(), arguments(full_determinism=True), train_dataset=Plain())
switched.append(torch.are_deterministic_algorithms_enabled())
Trainer(Net(), arguments(full_determinism=True), train_dataset=Plain())
switched.append(torch.are_deterministic_algorithms_enabled())
tell([seeded, orders, switched])
"""
    seeded, orders, switched = run(tmp_path, DATA, TRAINER, ARGUMENTS, use)
    assert seeded == 42, "whatever was seeded before"
    assert orders[0] != orders[1]
    assert orders[2] == orders[3]
    assert switched == [False, False, True]


@pytest.mark.parametrize("seedable", [False, True])
def test_accelerate_resumes(tmp_path: Path, seedable: bool) -> None:
    use = """
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration

def train(seed, folder=None, keep=True):
    repro_magic.seed_everything(seed)
    data, model = Noisy(seed), Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    options = repro_magic.loader_options(seed)
    order = options["generator"]
    loader = DataLoader(data, batch_size=8, shuffle=True, **options)
    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(use_seedable_sampler=seedable))
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    if keep:
        exec(recipe, globals() | locals())
    if folder:
        accelerator.load_state(folder)
    for epoch in range(2 if folder else 0, 4):
        if seedable:
            loader.set_epoch(epoch)
        for batch in loader:
            optimizer.zero_grad()
            accelerator.backward(model(**batch)["loss"])
            optimizer.step()
        if not folder:
            accelerator.save_state(f"{keep}{epoch}")
    return repro_magic.digest(model).hex

other = 1 if seedable else 2
tell([train(1), train(other, "True1"), train(1, keep=False), train(1, "False1", keep=False)])
"""
    [recipe] = blocks("Accelerate")
    whole, resumed, same, without = run(tmp_path, DATA, f"recipe, seedable = {recipe!r}, {seedable}", use)
    assert resumed == whole == same
    assert without != whole


def test_ranks_begin_with_the_same_weights_and_draw_other_numbers(tmp_path: Path) -> None:
    use = """
import json
first = torch.rand(1).item()
repro_magic.set_rng_state(torch.load(f"rng-{rank}.pt", weights_only=True))
again = torch.rand(1).item()
with open(f"{rank}.json", "w") as file:
    json.dump([repro_magic.digest(model).hex, first, again], file)
"""
    (tmp_path / "ranks.py").write_text("\n".join([*blocks("torchrun"), use]))
    start = """
import json, subprocess, sys
command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "ranks.py"]
subprocess.run(command, check=True, capture_output=True)
print(json.dumps([json.load(open(f"{rank}.json")) for rank in range(2)]))
"""
    ranks = run(tmp_path, start)
    weights, first, again = zip(*ranks, strict=True)
    assert weights[0] == weights[1]
    assert first == again
    assert first[0] != first[1]
    assert run(tmp_path, start) == ranks


TASKS = "Tasks: joblib, Dask, ipyparallel"


def expected(folder: Path) -> Any:
    return run(folder, blocks(TASKS)[0], "import json\nprint(json.dumps([task(index) for index in range(8)]))")


def test_tasks_of_joblib_draw_the_same_whoever_runs_them(tmp_path: Path) -> None:
    task, recipe, *_ = blocks(TASKS)
    use = """
import json
def unseeded(index):
    import random
    return random.random()

other = joblib.Parallel(n_jobs=2)(joblib.delayed(unseeded)(index) for index in range(8))
print(json.dumps([results, other, joblib.Parallel(n_jobs=2)(joblib.delayed(unseeded)(index) for index in range(8))]))
"""
    results, *others = run(tmp_path, "import joblib, random\nrandom.seed(1)", task, recipe, use)
    assert results == expected(tmp_path)
    assert others[0] != others[1], "a seed of this process does not reach its workers"


def test_tasks_of_dask_draw_the_same_whoever_runs_them(tmp_path: Path) -> None:
    task, _, recipe, _ = blocks(TASKS)
    begin = "import json\nfrom dask.distributed import Client\nif __name__ == '__main__':"
    start = "    client = Client(n_workers=2, threads_per_worker=1, dashboard_address=None)"
    use = "    " + recipe.strip() + "\n    print(json.dumps(results))\n    client.shutdown()"
    assert run(tmp_path, task, begin, start, use) == expected(tmp_path)


def test_tasks_of_ipyparallel_draw_the_same_whoever_runs_them(tmp_path: Path) -> None:
    task, _, _, recipe = blocks(TASKS)
    use = "import json\nprint(json.dumps(results))"
    assert run(tmp_path, "import ipyparallel", task, recipe, use) == expected(tmp_path)


def test_scikit_learn_takes_the_seeds(tmp_path: Path) -> None:
    use = """
import json, numpy, repro_magic
ends = [repro_magic.digest(model).hex, repro_magic.digest(model.fit(train, train_labels)).hex]
model.random_state = numpy.random.RandomState(1)
ends += [repro_magic.digest(model.fit(train, train_labels).predict_proba(test)).hex for _ in "ab"]
print(json.dumps(ends))
"""
    data = "from sklearn.datasets import load_digits\nimages, labels = load_digits(return_X_y=True)"
    first, again, state, state_again = run(tmp_path, data, *blocks("scikit-learn"), use)
    assert first == again
    assert state != state_again
    assert run(tmp_path, data, *blocks("scikit-learn"), use)[0] == first
