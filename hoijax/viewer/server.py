"""A viser server on exactly the port that was asked for. Nothing loads viser until a function is called."""

import contextlib
import errno
import io
import socket
from typing import Any

from hoijax.errors import UserError

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
    """A viser server on exactly this port (0: any free one). Raises UserError where it is taken."""
    viser = require_viser()
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
    with contextlib.redirect_stdout(io.StringIO()):  # its banner says what the command says itself
        return viser.ViserServer(host=host, port=free, label="hoijax", verbose=verbose)
