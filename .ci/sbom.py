"""A bill of materials (CycloneDX 1.6, JSON) of everything that requirements.lock installs, and of torch.

`make sbom` writes var/sbom.json. Names, versions and digests come from the lock file, licences and who needs whom
from the installed packages' own metadata. The same lock and the same environment give the same bytes: no time, no
random number.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, NamedTuple

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
LONGEST_NAME: Final = 60  # characters: older packages put the whole text of their licence where its name belongs
NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "unlearning-ledger")


class Pinned(NamedTuple):
    """One package of the lock file."""

    name: str
    version: str
    sha256: tuple[str, ...]


def pinned() -> list[Pinned]:
    """What requirements.lock pins, and torch, which the Makefile pins. Raises ValueError for any other line."""
    found: list[Pinned] = []
    for block in _blocks((ROOT / "requirements.lock").read_text()):
        head, *rest = block.split()
        name, equals, version = head.partition("==")
        digests = tuple(word.removeprefix("--hash=sha256:") for word in rest)
        if not equals or not digests or not all(re.fullmatch("[0-9a-f]{64}", one) for one in digests):
            raise ValueError(f"requirements.lock: got {block[:80]!r}, expected NAME==VERSION --hash=sha256:HEX ...")
        found.append(Pinned(str(canonicalize_name(name)), version, digests))
    torch = re.search(r"^TORCH := torch==(\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    if torch is None:
        raise ValueError("Makefile: no line `TORCH := torch==VERSION`")
    return [*found, Pinned("torch", torch[1], ())]


def _blocks(text: str) -> Iterator[str]:
    """Requirements, one string each, without comments and the backslashes that join their lines."""
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    yield from (block for block in bare.replace("\\\n", " ").splitlines() if block.strip())


def bill() -> Bom:
    """The bill: our own package, what it needs, and who of them needs whom."""
    bom = Bom(serial_number=uuid.uuid5(NAMESPACE, (ROOT / "requirements.lock").read_text()))
    bom.metadata.timestamp = None  # type: ignore[assignment] - optional in the format; the library's type forgets it
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    house = Component(
        name="unlearning-ledger", version=version[1], type=ComponentType.APPLICATION, bom_ref="unlearning-ledger",
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
    )  # fmt: skip
    bom.metadata.component = house
    listed = {one.name: _component(one) for one in pinned()}
    for component in listed.values():
        bom.components.add(component)
    bom.register_dependency(house, listed.values())
    for name, component in listed.items():
        bom.register_dependency(component, [listed[other] for other in sorted(_needs(name)) if other in listed])
    return bom


def _component(one: Pinned) -> Component:
    purl = PackageURL("pypi", name=one.name, version=one.version)
    component = Component(
        name=one.name, version=one.version, type=ComponentType.LIBRARY, purl=purl, bom_ref=str(purl),
        licenses=_licences(one.name),
    )  # fmt: skip
    if one.sha256:
        component.external_references.add(
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(str(purl)),
                comment="any of these files may be installed",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in one.sha256],
            )
        )
    return component


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None  # pinned for another platform


def _licences(name: str) -> list[License]:
    """As the package says itself: an SPDX expression, its classifiers, or a short line. Empty: it says nothing."""
    found = _installed(name)
    if found is None:
        return []
    make, declared = LicenseFactory(), LicenseAcknowledgement.DECLARED
    expression = found.metadata.get("License-Expression")
    if expression:
        return [make.make_from_string(expression, license_acknowledgement=declared)]
    classifiers = found.metadata.get_all("Classifier") or []
    names = {line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: ")}
    line = (found.metadata.get("License") or "").strip()
    if not names and line and len(line) <= LONGEST_NAME and "\n" not in line:
        names = {line}
    return [make.make_from_string(each, license_acknowledgement=declared) for each in sorted(names)]


def _needs(name: str) -> set[str]:
    found = _installed(name)
    wanted = [Requirement(line) for line in (found.requires or [])] if found else []
    here = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return {str(canonicalize_name(one.name)) for one in here}


def text() -> str:
    """The bill as JSON."""
    return str(JsonV1Dot6(bill()).output_as_string(indent=1)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
