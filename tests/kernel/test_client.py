"""Answers that a kernel's client waits for: each is noticed, and one that never comes ends the wait."""

from __future__ import annotations

import asyncio
import select
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.session import Session
from verify_command import notebook

from repro_magic.proof.run import client
from repro_magic.proof.run.client import ShellChannel
from repro_magic.proof.run.runner import run


async def sends_while_its_reply_arrives(kind: type[AsyncZMQSocketChannel]) -> str:
    """What a channel receives that sends at the moment when its reply has arrived and nobody has looked yet."""
    session = Session(key=b"key")
    with zmq.Context() as context:
        router, dealer = context.socket(zmq.ROUTER), zmq.asyncio.Socket(context.socket(zmq.DEALER))
        port = router.bind_to_random_port("tcp://127.0.0.1")
        dealer.connect(f"tcp://127.0.0.1:{port}")
        channel = kind(dealer, session)
        try:
            channel.send(session.msg("execute_request"))
            idents, request = session.recv(router, mode=0)
            reply = asyncio.ensure_future(channel.get_msg())
            await asyncio.sleep(0.05)  # then it waits for the file descriptor; if not yet, nothing is lost
            session.send(router, "execute_reply", {}, parent=request, ident=idents)
            select.select([dealer.FD], [], [])
            channel.send(session.msg("comm_msg"))
            return str((await asyncio.wait_for(reply, 5))["msg_type"])
        except TimeoutError:
            return "nothing"
        finally:
            router.close(0)
            dealer.close(0)


def test_a_reply_that_arrives_while_a_message_is_sent_is_noticed() -> None:
    assert {asyncio.run(sends_while_its_reply_arrives(ShellChannel)) for _ in range(20)} == {"execute_reply"}


def test_the_channel_of_jupyter_client_loses_it() -> None:
    """If this fails, `ShellChannel` is no longer needed."""
    assert "nothing" in (asyncio.run(sends_while_its_reply_arrives(AsyncZMQSocketChannel)) for _ in range(50))


def lose(monkeypatch: pytest.MonkeyPatch, method: str, code: str) -> None:
    """Drop the request that runs some code, or its reply."""
    lost: list[str] = []
    send, get_msg = ShellChannel.send, ShellChannel.get_msg

    def sends(channel: ShellChannel, msg: dict[str, Any]) -> None:
        if msg["content"].get("code") == code:
            lost.append(msg["header"]["msg_id"])
            if method == "send":
                return
        send(channel, msg)

    async def gets(channel: ShellChannel, timeout: float | None = None) -> dict[str, Any]:  # noqa: ASYNC109 - its name
        msg = await get_msg(channel, timeout)
        while msg["parent_header"].get("msg_id") in lost:
            msg = await get_msg(channel, timeout)
        return msg

    monkeypatch.setattr(ShellChannel, "send", sends)
    monkeypatch.setattr(ShellChannel, "get_msg", gets)


@pytest.mark.kernel
@pytest.mark.parametrize("method", ["send", "get_msg"])
@pytest.mark.parametrize("code", ["x = 2", ""])
def test_an_answer_that_never_comes_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, code: str
) -> None:
    monkeypatch.setattr(client, "IDLE_FOR", 3)
    path = notebook(tmp_path / "n.ipynb", "x = 1", "x = 2")
    lose(monkeypatch, method, code)
    number = 2 if code else 1  # what the names hold is asked before the first cell
    assert run(path).error == f"the kernel is idle, but its answer to cell {number} never came"


WAITS = {
    "sleeps": ["import time\ntime.sleep(8)"],
    "awaits": ["import asyncio\nawait asyncio.sleep(8)"],
    "waits for a program": [
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(8)'])",
    ],
    "keeps the GIL": ["import re\nx = re.match('(a+)+$', 'a' * 27 + 'b')"],
    "begins late": ["import asyncio, time\n_ = asyncio.get_running_loop().call_later(0.1, time.sleep, 8)", "1"],
}


@pytest.mark.kernel
@pytest.mark.parametrize("name", WAITS)
def test_a_kernel_that_is_busy_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(client, "IDLE_FOR", 3)
    found = run(notebook(tmp_path / "n.ipynb", *WAITS[name]))
    assert (found.error, len(found.cells)) == ("", len(WAITS[name]))
