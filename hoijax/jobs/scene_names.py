"""Which bundles are meant by paths, folders, globs and addresses, and what each scene is called."""

import glob
from collections.abc import Sequence
from pathlib import Path

from hoijax.bundle.discovery import find_bundles
from hoijax.bundle.files import MANIFEST as BUNDLE_MANIFEST
from hoijax.bundle.object_store import is_remote, remote_bundles, remote_key
from hoijax.bundle.write import bundle_hash
from hoijax.errors import UserError
from hoijax.io.atomic import RESULT_MARKER, check_apart
from hoijax.work.folder import Item


def is_many(paths: Sequence[Path]) -> bool:
    """Whether these mean many scenes: several paths, a glob, or a folder that is no bundle itself."""
    if len(paths) != 1:
        return True
    path = paths[0]
    if is_remote(path):
        return True
    if path.is_dir():
        one = (path / BUNDLE_MANIFEST).is_file() or (path / RESULT_MARKER).is_file()
        return not one and (bool(_bundles_below(path)) or not any(path.iterdir()))
    return not path.exists() and glob.has_magic(str(path))


def _bundles_below(path: Path) -> list[Path]:
    try:
        return find_bundles(path)
    except UserError:
        return []


def find_scenes(paths: Sequence[str | Path]) -> dict[str, Path | str]:
    """Bundles by scene name, from bundles, folders of them, globs, and addresses of stores (strings).

    A name is a bundle's path below what all of them share, with "-" for "/": adding bundles to a
    folder does not rename the others. Raises UserError for nothing found and for equal names.
    """
    pairs: list[tuple[Path, Path]] = []
    scenes: dict[str, Path | str] = {}
    for given in paths:
        if is_remote(given):
            scenes |= remote_bundles(given)
            continue
        path = Path(given)
        if glob.has_magic(str(path)) and not path.exists():
            root = _before_magic(path)
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
            below = [bundle for match in matches for bundle in _matched(match)]
            if not below:
                raise UserError(f"no bundle matches '{path}' ({len(matches)} other paths do).")
        else:
            is_folder = path.is_dir() and not (path / BUNDLE_MANIFEST).is_file()
            root = path if is_folder else path.parent
            below = find_bundles(path)
        pairs += [(root, bundle) for bundle in below]
    for root, bundle in pairs:
        name = _scene_name(root, bundle)
        if scenes.get(name, bundle) != bundle:
            raise UserError(
                f"'{scenes[name]}' and '{bundle}' would both be scene '{name}'. Rename one."
            )
        scenes[name] = bundle
    if not scenes:
        raise UserError("no bundles given.")
    return scenes


def _matched(path: Path) -> list[Path]:
    """Bundles that a path of a glob stands for; other files may match as well."""
    if path.is_dir():
        return _bundles_below(path)
    return [path] if path.suffix.lower() == ".zip" else []


def _before_magic(pattern: Path) -> Path:
    fixed = []
    for part in pattern.parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _scene_name(root: Path, bundle: Path) -> str:
    parts = list(bundle.relative_to(root).parts)
    if len(parts) > 1 and parts[-1] == "bundle":
        parts.pop()
    name = "-".join(parts).lstrip(".")
    return name[:-4] if name.lower().endswith(".zip") else name


def scene_items(bundles: Sequence[str | Path], out: str | Path) -> list[Item]:
    """What is to be solved. Raises UserError for no bundles, and for those below `out`."""
    if is_remote(out):
        raise UserError(
            f"--out '{out}': results need a file system with renames. Give a local or mounted folder, "
            "and copy it to the store afterwards."
        )
    scenes = find_scenes(bundles)
    for bundle in scenes.values():
        if isinstance(bundle, Path):
            check_apart(bundle, out)
    return [Item(name, str(bundle), _key(bundle)) for name, bundle in scenes.items()]


def _key(bundle: Path | str) -> str:
    try:
        if isinstance(bundle, str):
            return remote_key(bundle)
        return bundle_hash(bundle)
    except UserError:
        return "unreadable"  # fails with the reason when its turn comes
