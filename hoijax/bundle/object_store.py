"""Bundles in object stores (`gs://`, `s3://`, anything fsspec knows): listed, and fetched one by one."""

import glob
import hashlib
import re
from pathlib import Path
from typing import Any

from hoijax.bundle.files import MANIFEST
from hoijax.errors import UserError

_URL = re.compile(r"^([a-z][a-z0-9+.-]+):/+(.*)$")
PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs", "az": "adlfs", "abfs": "adlfs"}


def is_remote(path: str | Path) -> bool:
    """Whether a path names a store; `Path` may have taken one of its slashes."""
    return _URL.match(str(path)) is not None


def as_url(path: str | Path) -> str:
    """The address with both slashes."""
    match = _URL.match(str(path))
    return f"{match[1]}://{match[2].rstrip('/')}" if match else str(path)


def _file_system(url: str) -> tuple[Any, str]:
    """(file system, path in it). Raises UserError that names the missing package."""
    protocol = url.partition(":")[0]
    try:
        import fsspec

        return fsspec.url_to_fs(url)
    except ImportError as error:
        package = PACKAGES.get(protocol, "fsspec")
        raise UserError(
            f"'{url}' needs a package that is not installed: pip install 'hoijax[remote]' "
            f"(or fsspec and {package})."
        ) from error
    except ValueError as error:
        raise UserError(f"'{url}': {error}. Give a folder, gs://..., or s3://...") from error


def remote_bundles(path: str | Path) -> dict[str, str]:
    """Bundles by scene name: the one that an address is, or those below it, or that match its glob.

    Raises UserError where there is none, or where the store does not answer.
    """
    url = as_url(path)
    store, root = _file_system(url)
    try:
        if glob.has_magic(root):
            candidates = sorted(store.glob(root))
        elif _bundle_at(store, root):
            candidates = [root]
        else:
            candidates = sorted(store.ls(root, detail=False))
        bundles = {}
        for candidate in candidates:
            if (address := _bundle_at(store, candidate)) is not None:
                name = candidate.rstrip("/").rpartition("/")[2].removesuffix(".zip")
                bundles[name] = store.unstrip_protocol(address)
    except UserError:
        raise
    except Exception as error:  # every store has errors of its own
        raise UserError(f"'{url}' cannot be read: {type(error).__name__}: {error}") from error
    if not bundles:
        raise UserError(f"no bundle at '{url}': looked for */{MANIFEST}, */bundle/ and *.zip.")
    return bundles


def _bundle_at(store: Any, address: str) -> str | None:
    address = address.rstrip("/")
    if address.endswith(".zip"):
        return address
    for folder in (address, f"{address}/bundle"):
        if store.exists(f"{folder}/{MANIFEST}"):
            return folder
    return None


def remote_key(url: str) -> str:
    """Changes with the content of a bundle, as far as the store tells without reading it."""
    store, root = _file_system(url)
    try:
        files = store.find(root, detail=True) or {root: store.info(root)}
    except Exception as error:
        raise UserError(f"'{url}' cannot be read: {type(error).__name__}: {error}") from error
    told = hashlib.sha256()
    for name in sorted(files):
        info = files[name]
        marks = [str(info.get(k)) for k in ("size", "etag", "ETag", "md5Hash", "mtime", "created")]
        told.update("\n".join([name.removeprefix(root), *marks]).encode())
    return told.hexdigest()


def fetch(url: str, folder: Path) -> Path:
    """Copy a bundle into an empty folder; its place there. Raises UserError where that fails."""
    store, root = _file_system(url)
    target = folder / (root.rpartition("/")[2] if root.endswith(".zip") else "bundle")
    try:
        if root.endswith(".zip"):
            store.get_file(root, str(target))
        else:
            for name in store.find(root):
                inner = Path(name.removeprefix(root).lstrip("/"))
                if inner.is_absolute() or ".." in inner.parts:
                    raise UserError(f"'{url}' holds a file outside itself: {name}")
                (target / inner).parent.mkdir(parents=True, exist_ok=True)
                store.get_file(name, str(target / inner))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"'{url}' cannot be fetched: {type(error).__name__}: {error}") from error
    return target
