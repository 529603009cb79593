"""A result in the browser: `hoijax view RESULT`, by viser (extra `viewer`), or as one static page.

Nothing here loads viser until a function is called.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from hoijax.errors import UserError
from hoijax.results.result import load_result
from hoijax.viewer.server import HOST, PORT, require_viser, start_server

if TYPE_CHECKING:
    from hoijax.viewer.controls import Viewer


def open_viewer(folder: str | Path, *, host: str = HOST, port: int = PORT) -> "Viewer":
    """Serve a result folder at http://host:port and return at once; `Viewer.run` plays it.

    Raises UserError where the folder is no result, viser is missing or the port is taken.
    """
    result = load_result(folder)
    server = start_server(host, port)
    from hoijax.api.observed import find_observed
    from hoijax.viewer.controls import Viewer

    try:
        return Viewer(server, result, find_observed(result, Path(folder)), Path(folder))
    except BaseException:
        server.stop()
        raise


def save_page(folder: str | Path, path: str | Path, *, candidate: int | None = None) -> Path:
    """Write a result as one html file that plays in any browser, without server or network.

    candidate: counted from 0; the winner by default. Raises UserError where the folder is no
    result, viser is missing, there is no such candidate, or the file cannot be written.
    """
    result = load_result(folder)
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--save '{path}' is no html file. Give a name that ends in .html.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"--save '{path}': there is no folder '{path.absolute().parent}'. Make it.")
    chosen = result.winner if candidate is None else candidate
    if not 0 <= chosen < len(result.losses):
        raise UserError(
            f"--candidate {chosen + 1}: the result has candidates 1 to {len(result.losses)}."
        )
    require_viser()
    from hoijax.api.observed import find_observed
    from hoijax.viewer.page import static_page

    content = static_page(result, find_observed(result, Path(folder)), chosen)
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--save '{path}' cannot be written: {error.strerror or error}.") from error
    return path
