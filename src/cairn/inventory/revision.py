"""The inventory as it stands in a revision of the repository, written out as plain files so that it can be checked.

Blobs are read one by one as bytes. Nothing of the revision is checked out or run, and no attribute of its tree (such as
`export-ignore`) can hide or change a file.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from cairn.errors import UserError
from cairn.inventory.reader import MAX_BYTES

FOLDER = "inventory"
LINK_MODE = "120000"
FILE_MODES = ("100644", "100755")


@contextmanager
def tree(place: str, repository: Path) -> Iterator[Path]:
    """Yield a data root for `place`: a folder that holds `inventory/`, or a revision of the git repository.

    Raises UserError when it is neither.
    """
    folder = Path(place)
    if place and (folder / FOLDER).is_dir():
        yield folder.resolve()
        return
    with TemporaryDirectory(prefix="cairn-") as temporary:
        root = Path(temporary)
        for blob in _blobs(place, repository):
            _write(root, blob, repository)
        yield root


@dataclass(frozen=True)
class _Blob:
    mode: str
    name: str
    bytes: int
    path: str


def _blobs(revision: str, repository: Path) -> Iterator[_Blob]:
    commit = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        repair = "name a folder that holds inventory/, or a revision such as main or HEAD~1"
        raise UserError("neither a folder with an inventory nor a revision", value=revision, repair=repair)
    listed = _git(repository, "ls-tree", "-r", "-l", "-z", "--full-tree", commit.decode().strip(), "--", FOLDER)
    if not listed:
        raise UserError("this revision has no inventory", value=revision, repair="name one that has inventory/")
    for line in listed.removesuffix(b"\0").split(b"\0"):
        about, _, path = line.partition(b"\t")
        mode, _, name, size = about.decode("ascii").split()
        bytes_ = int(size) if size.isdigit() else 0  # a submodule has none
        yield _Blob(mode, name, bytes_, path.decode("utf-8", "surrogateescape"))


def _write(root: Path, blob: _Blob, repository: Path) -> None:
    path = PurePosixPath(blob.path)
    # git itself makes no such tree, but a hand-made one could try to leave the folder.
    if path.is_absolute() or ".." in path.parts or path.parts[:1] != (FOLDER,):
        raise UserError("a path leaves the inventory", value=blob.path, repair="make the tree again with git")
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if blob.mode not in (*FILE_MODES, LINK_MODE):
        target.mkdir()  # a submodule: there as a folder, which the rules refuse
        return
    if blob.bytes > MAX_BYTES:
        target.touch()
        os.truncate(target, blob.bytes)  # as long as the blob but empty: the rules refuse it by its size
        return
    content = _git(repository, "cat-file", "blob", blob.name)
    if content is None:
        raise UserError("a file of the revision cannot be read", value=blob.path, repair="fetch the revision whole")
    if blob.mode == LINK_MODE:
        target.symlink_to("nowhere")  # the rules refuse every link; where it led does not matter
    else:
        target.write_bytes(content)


def _git(repository: Path, *arguments: str) -> bytes | None:
    """Return what git prints, or None when it fails. Raises UserError where there is no git."""
    try:
        done = subprocess.run(("git", "-C", str(repository), *arguments), capture_output=True, check=False)
    except OSError as error:
        raise UserError("git cannot be started", repair="install git, or name folders instead") from error
    return done.stdout if done.returncode == 0 else None
