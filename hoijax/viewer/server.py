"""A viser server on exactly the port that was asked for. Nothing loads viser until a function is called."""

import contextlib
import errno
import io
import logging
import socket
from collections.abc import Iterator
from typing import Any

from hoijax.errors import UserError
from hoijax.viewer.guard import Guard

PORT = 8080
HOST = "127.0.0.1"


def require_viser() -> Any:
    """The viser module. Raises UserError naming the extra that brings it."""
    try:
        import viser
    except ImportError as error:
        raise UserError(
            'the viewer needs viser, which is not installed: pip install "hoijax[viewer]".'
        ) from error
    return viser


def start_server(host: str, port: int, verbose: bool = False) -> Any:
    """A viser server on exactly this port (0: any free one). Raises UserError where it is taken.

    It answers only requests that its `hoijax_guard` lets through.
    """
    viser = require_viser()
    if not host.strip():
        raise UserError("--host is empty, which would serve at every address. Give 127.0.0.1.")
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}: a port is a number from 0 to 65535.")
    # viser takes the next free port instead; who opens the one that was asked for sees another page.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
            remedy = (
                "Close the other viewer, or give another port with --port, such as "
                f"--port {min(port + 1, 65535)} (0 takes any free one)."
                if taken
                else "Give an address of this machine with --host (127.0.0.1 for this machine only)."
            )
            raise UserError(
                f"cannot serve at {host}:{port}: {error.strerror or error}. {remedy}"
            ) from error
        free = probe.getsockname()[1]
    guard = Guard.of_host(host)
    # viser's banner says what the command says itself
    with contextlib.redirect_stdout(io.StringIO()), _guarded(guard):
        server = viser.ViserServer(host=host, port=free, label="hoijax", verbose=verbose)
    server.hoijax_guard = guard
    return server


def viewer_url(server: Any) -> str:
    """The address to open, with its token where it has one."""
    token = server.hoijax_guard.token
    query = f"/?token={token}" if token else ""
    return f"http://{server.get_host()}:{server.get_port()}{query}"


def _is_no_broken_request(record: logging.LogRecord) -> bool:
    return record.msg != "opening handshake failed"


@contextlib.contextmanager
def _guarded(guard: Guard) -> Iterator[None]:
    """Servers started inside ask the guard before viser: viser has no hook of its own."""
    from websockets.asyncio import server

    serve = server.serve
    # What is no HTTP request ends in a traceback on the console else, by whoever sends it.
    log = logging.getLogger("hoijax.viewer.requests")
    log.addFilter(_is_no_broken_request)

    def guarded_serve(*arguments: Any, process_request: Any, **options: Any) -> Any:
        asked = guard.wrap(process_request)
        return serve(*arguments, process_request=asked, **{"logger": log, **options})

    server.serve = guarded_serve  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        server.serve = serve
