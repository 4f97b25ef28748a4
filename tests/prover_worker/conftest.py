"""One small release, one honest client, one honest claim with its proofs, made once per run."""

import json

import pytest

from ledger.statements.predicates.circuit_release import CircuitRelease
from prover_worker import release
from tests.prover_worker.story import BACKEND, P, make_claim, make_client, make_mask, solve
from tests.prover_worker.window import build as make_window
from tests.shared import once

#: What the faults take over with a star.
__all__ = ["built", "cache", "claim", "client", "mask", "opened"]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """(predicate, files by role) of a release with a development SRS."""

    def make(folder):
        predicate, paths = release.build(BACKEND, P, folder / "files")
        (folder / "predicate.json").write_text(predicate.model_dump_json(by_alias=True))
        (folder / "names.json").write_text(json.dumps({role: path.name for role, path in paths.items()}))

    folder = once(tmp_path_factory, "release", make)
    predicate = CircuitRelease.model_validate_json((folder / "predicate.json").read_bytes())
    names = json.loads((folder / "names.json").read_text())
    return predicate, {role: folder / "files" / name for role, name in names.items()}


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return once(tmp_path_factory, "release-keys", lambda _folder: None)  # filled under a lock of its own


@pytest.fixture(scope="session")
def opened(built, cache):
    """The release with proving keys."""
    return release.Release.open(*built).with_keys(BACKEND, cache)


@pytest.fixture(scope="session")
def client(opened):
    return make_client(opened, 1)


@pytest.fixture(scope="session")
def mask():
    return make_mask()


@pytest.fixture(scope="session")
def claim(client, mask):
    return make_claim(client, mask, solve(client, mask))


@pytest.fixture(scope="session")
def bundle(claim):
    """Proofs of the honest claim: chunks 0 and 2, one range proof."""
    return claim.prove()


@pytest.fixture(scope="session")
def alone(client, mask):
    """An honest claim whose mask touches chunk 0 only, for attacks that need two proofs instead of three."""
    first = mask.copy()
    first[256:] = False
    return make_claim(client, first, solve(client, first))


@pytest.fixture(scope="session")
def window(built, claim, bundle):
    """A window in a log of its own, with real proofs, and its audit bundle."""
    _, paths = built
    files = {role: path.read_bytes() for role, path in paths.items()}
    return make_window(claim, bundle, files)
