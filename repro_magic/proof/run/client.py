"""nbclient's client, without the two ways in which it waits forever for an answer that does not come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import Empty
from typing import Any

import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbclient.util import run_sync
from traitlets import Type

from repro_magic.proof.kernel.probe import TURNS

# Seconds that a kernel has to be idle before its answer counts as lost.
IDLE_FOR = 60


class LostReplyError(Exception):
    """The kernel is idle, and its answer to a request never came."""


class ShellChannel(AsyncZMQSocketChannel):
    """A channel that can be sent to while a reply is awaited on it.

    A ZeroMQ socket tells of news once, through a file descriptor, and any call on the socket uses that signal up.
    `Session.send` sends past the asyncio socket, on its raw twin. While a cell runs, nbclient's mimic of an Output
    widget sends the widget's state back to the kernel for each output; if the cell's reply arrives at that moment, the
    send swallows its signal, and the event loop waits forever for a reply that lies in the socket. Reading `EVENTS`,
    as ZeroMQ asks for after each send, makes the asyncio socket look for what has arrived.
    """

    def send(self, msg: dict[str, Any]) -> None:
        """Send a message, and notice what arrived meanwhile."""
        super().send(msg)
        self.socket.get(zmq.EVENTS)


class _KernelClient(AsyncKernelClient):
    shell_channel_class = Type(ShellChannel)


class Client(NotebookClient):
    """Runs cells, asks the kernel what its names hold, and notices when an answer is lost."""

    _is_begun = _is_over = _is_lost = _has_answered = False
    _turns = 0

    def create_kernel_manager(self) -> Any:  # noqa: ANN401 - jupyter_client's
        """A manager whose clients use `ShellChannel`."""
        manager: Any = super().create_kernel_manager()
        manager.client_factory = _KernelClient
        return manager

    async def async_execute_cell(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - nbclient's
        """Run a cell, as nbclient does.

        Raises:
            LostReplyError: its reply does not come, and the kernel is idle.
        """
        self._is_begun = self._is_over = False
        watch = asyncio.ensure_future(self._watch(lambda: self.task_poll_for_reply))
        try:
            return await super().async_execute_cell(*arguments, **options)
        except DeadKernelError:  # which nbclient makes of a cancelled wait
            if self._is_lost:
                # nbclient goes on to ask whether the kernel lives.
                await _end(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))
                raise LostReplyError from None
            raise
        finally:
            await _end(watch)

    execute_cell = run_sync(async_execute_cell)

    async def async_ask(self, expression: str) -> dict[str, Any] | None:
        """The reply to a request that runs nothing, and evaluates an expression in the kernel.

        Raises:
            LostReplyError: the reply does not come, and the kernel is idle.
        """
        self._is_begun = self._is_over = False
        kernel: Any = self.kc
        asked = kernel.execute("", silent=True, store_history=False, user_expressions={"told": expression})
        reply = asyncio.ensure_future(self.async_wait_for_reply(asked))
        others = [asyncio.ensure_future(self._follow(asked)), asyncio.ensure_future(self._watch(lambda: reply))]
        try:
            answer = await reply
        except asyncio.CancelledError:
            if self._is_lost:
                raise LostReplyError from None
            raise
        finally:
            await _end(*others)
        self._has_answered = True
        return answer

    ask = run_sync(async_ask)

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:  # noqa: ANN401 - nbclient's
        """What nbclient does with each message of the cell that runs."""
        self._note(msg)
        return super().process_message(msg, cell, cell_index)

    async def _follow(self, request: str) -> None:
        """Note the kernel's messages about a request until it is over."""
        kernel: Any = self.kc
        while not self._is_over:
            msg = await kernel.iopub_channel.get_msg(timeout=None)
            if msg["parent_header"].get("msg_id") == request:
                self._note(msg)

    def _note(self, msg: dict[str, Any]) -> None:
        self._is_begun = True
        self._is_over = msg["msg_type"] == "status" and msg["content"]["execution_state"] == "idle"

    async def _watch(self, waiting: Callable[[], Any]) -> None:
        """Give up the wait for a reply once the kernel has been idle for long enough."""
        idle = 0
        while idle < IDLE_FOR:
            await asyncio.sleep(1)
            idle = idle + 1 if await self._is_idle() else 0
        self._is_lost = True
        waiting().cancel()

    async def _is_idle(self) -> bool:
        """Whether the kernel says that the request is over, or never got it and has time for one.

        A cell that sleeps, waits for a program or computes without the GIL has begun, and is not over.
        """
        return self._is_over or (not self._is_begun and await self._is_free())

    async def _is_free(self) -> bool:
        """Whether the kernel's main loop has turned since it was asked last; a busy kernel answers, too."""
        if not self._has_answered:  # it does not know the question yet, and nothing of the notebook runs yet
            return True
        kernel: Any = self.kc
        kernel.control_channel.send(kernel.session.msg(TURNS))
        before = self._turns
        try:
            self._turns = (await kernel.control_channel.get_msg(timeout=1))["content"].get("turns", before)
        except Empty:
            return False
        return self._turns > before


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
