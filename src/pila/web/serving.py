"""From options to a running server: checks first, then the page, then cleaning up."""

import hmac
import ipaddress
import logging
import os
import re
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.network import clean_environment

logger = logging.getLogger(__name__)

PASSWORD_LIMIT = 1_000
"""Characters of a password."""
SESSIONS = 200
"""Open pages, and clients of the API, whose state Gradio keeps: some 0.2 MB each; those that
were used last."""
_PUBLIC = re.compile(r"(?!-)[a-z0-9.-]{1,253}(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen.

    Attributes:
        host: the interface.
        port: 0 is any free one.
        password: that the page asks for.
        public: the name under which a proxy serves the page by https, with its port where that
            is not 443.

    Raises:
        InputError: a port or a name that cannot be, or a place open to others without a password.
    """

    host: str
    port: int
    password: str | None
    public: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise InputError(f"port is {self.port}; use 1 to 65535, or 0 for any free one")
        if not self.is_loopback and self.password is None:
            raise InputError(
                f"host {self.host} can be reached by others, and no password is set; add "
                "--password-file FILE, or leave --host at 127.0.0.1 and use an SSH tunnel"
            )
        if self.public is not None and not _PUBLIC.fullmatch(self.public):
            raise InputError(
                f"public_host is {self.public!r}; give the name alone, in lower case, with the "
                "port where that is not 443: lab.example or lab.example:8443"
            )
        if self.public is not None and self.password is None:
            raise InputError(
                f"public_host {self.public} can be reached by others, and no password is set; add "
                "--password-file FILE"
            )

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"


def read_password(path: Path) -> str:
    """The first line of a password file.

    Raises:
        InputError: the file cannot be read, or its first line is empty or too long.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"password file {path} cannot be read ({getattr(error, 'strerror', None) or error}); "
            "write the password into a text file and name it"
        ) from error
    password = text.partition("\n")[0].strip("\r")
    if not password.strip():
        raise InputError(f"password file {path} has an empty first line; write the password there")
    if len(password) > PASSWORD_LIMIT:
        raise InputError(
            f"the password in {path} has {len(password):,} characters; use at most {PASSWORD_LIMIT}"
        )
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        logger.warning("password file %s can be read by other users; chmod 600 it", path)
    return password


def check_port(address: Address) -> int:
    """The port to listen on; a free one in place of 0.

    Raises:
        InputError: it is taken, or this machine has no such address.
    """
    host = address.host.strip("[]")
    try:
        family, kind, proto, _, where = socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, proto) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(where)
            return trial.getsockname()[1]
    except OSError as error:
        raise InputError(
            f"{address.host} port {address.port} cannot be used ({error.strerror}); choose "
            "another with --port, or --port 0 for any free one"
        ) from error


@contextmanager
def serving(page: Any, address: Address, *, files: Path) -> Iterator[str]:
    """Serve a page while this lasts; yields its URL.

    Args:
        page: Gradio Blocks.
        address: where.
        files: the only folder whose files are served.

    Raises:
        InputError: the port cannot be used.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    from pila.web.app import CSS, HEAD, ON_LOAD
    from pila.web.guard import Guard

    port = check_port(address)
    hosts = {"localhost", "127.0.0.1", "::1", address.host.strip("[]")}
    guard = Middleware(
        Guard,  # pyright: ignore[reportArgumentType]
        files=files,
        hosts=frozenset(hosts) if address.is_loopback else None,
        public=address.public,
    )
    gr.set_static_paths(files)  # else it serves copies, which outlive the results
    with clean_environment():  # Gradio asks the page whether it is there
        _, url, _ = page.launch(
            server_name=address.host,
            server_port=port,
            auth=_check_of(address.password) if address.password is not None else None,
            auth_message="Any user name, with the password of this server.",
            state_session_capacity=SESSIONS,
            app_kwargs={"middleware": [guard]},
            theme=_theme(),
            css=CSS,
            head=HEAD,
            js=ON_LOAD,
            footer_links=[],
            share=False,
            inbrowser=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            prevent_thread_lock=True,
            quiet=True,
        )
    try:
        yield url
    finally:
        page.close(verbose=False)


def keep_gradio_in(root: Path) -> None:
    """Keep Gradio from writing elsewhere and from calling home. Before it is imported."""
    os.environ["GRADIO_TEMP_DIR"] = str(root / "gradio")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


@contextmanager
def signals_heard() -> Iterator[Callable[[], None]]:
    """Hear interrupts and SIGTERM while this lasts; only in the main thread.

    Yields:
        waits until one has come, which may have been before.
    """
    told = threading.Event()

    def wait() -> None:
        # Short, since on Windows nothing interrupts a wait.
        while not told.wait(timeout=0.5):
            pass

    before = {
        number: signal.signal(number, lambda *_: told.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _theme() -> Any:
    """System fonts, since others would be fetched; colours that keep 4.5 : 1 against their text."""
    import gradio as gr

    return gr.themes.Default(
        primary_hue="blue", font=("system-ui", "sans-serif"), font_mono=("ui-monospace",)
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_cancel_background_fill="#b91c1c",
        button_cancel_background_fill_hover="#991b1b",
        button_cancel_background_fill_dark="#b91c1c",
        button_cancel_background_fill_hover_dark="#991b1b",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
    )


def _check_of(password: str) -> Callable[[str, str], bool]:
    def check(user: str, given: str) -> bool:
        return hmac.compare_digest(given.encode(), password.encode())

    return check
