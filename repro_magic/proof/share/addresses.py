"""Addresses of repositories: as git knows them, without secrets, and as Binder names them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit


def origin_of(root: Path) -> str:
    """The address of the remote `origin`; empty if git knows none."""
    # Git sets these in its hooks, where they may name another repository.
    variables = {name: value for name, value in os.environ.items() if name not in {"GIT_DIR", "GIT_WORK_TREE"}}
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, env=variables)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def public_address(address: str) -> str | None:
    """An address without user, password and token; None if it does not name a server.

    Example:
        >>> public_address("https://me:secret@example.org/a/b.git?token=secret")
        'https://example.org/a/b.git'
        >>> public_address("git@example.org:a/b.git")
        'https://example.org/a/b.git'
    """
    # ssh's short form: user@host:path
    short = re.fullmatch(r"(?:[^@/\s]+@)?([\w-]+(?:\.[\w-]+)+):(?!//)(\S+)", address)
    try:
        parts = urlsplit(f"ssh://{short[1]}/{short[2].lstrip('/')}" if short else address)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in {"https", "http", "ssh", "git"} or not host:
        return None
    is_web = parts.scheme.startswith("http")
    server = f"{host}:{port}" if is_web and port else host  # the port of ssh is not the web server's
    return f"{parts.scheme if is_web else 'https'}://{server}{quote(parts.path, safe='/%+~')}"


_HOSTS: dict[str, Callable[[str], str | None]] = {
    "github.com": lambda path: f"gh/{path}" if path.count("/") == 1 else None,
    "gitlab.com": lambda path: f"gl/{quote(path, safe='')}" if "/" in path else None,
}


def binder_name(address: str) -> str | None:
    """Binder's name of a repository; None if it is not on GitHub or GitLab."""
    parts = urlsplit(public_address(address) or "")
    path = unquote(parts.path).strip("/").removesuffix(".git")
    host = (parts.hostname or "").removeprefix("www.")
    return _HOSTS[host](path) if host in _HOSTS and re.fullmatch(r"[\w./-]+", path, re.ASCII) else None
