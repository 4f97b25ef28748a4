"""From a file of requests to a real mask: digits, a small vision transformer, single samples and a class."""

from __future__ import annotations

import json
import math
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from ledger import blobs, log, models
from ledger.statements import predicates
from ledger.workflow import imports, request_steps, requests, windows
from tests.ledger.requests.parts import ANN, holds

REQUESTS = """regulation,subject,dataset,class,samples,query,receivedAt
gdpr,Ada,digits,,17;203,,2026-10-01T09:00:00Z
ccpa,Bob,digits,,,"{""class"": 9}",2026-10-01T09:00:00Z
"""


def provider_folder(folder: Path) -> Path:
    """What `python -m unlearning train` writes, without the training."""
    from unlearning import backbones, datasets
    from unlearning.__main__ import main

    architecture = backbones.DIGITS_VIT | {"embed_dim": 32, "depth": 1, "num_heads": 2}
    state = backbones.build(architecture).state_dict()
    names = backbones.target_names(backbones.build(architecture))
    backbones.save(folder / "global.safetensors", state)
    (folder / "architecture.json").write_text(json.dumps(architecture))
    targets = [{"name": name, "shape": list(state[name].shape)} for name in names]
    (folder / "targets.json").write_text(json.dumps(targets))
    main(["index", "--dataset", "digits", "--out", str(folder / "samples.csv")])
    assert len((folder / "samples.csv").read_text().splitlines()) == 1 + len(datasets.load("digits").train.y)
    return folder


@pytest.mark.django_db
def test_samples_reach_the_mask_and_not_the_log(tmp_path: Path) -> None:
    from prover_worker import tasks
    from unlearning import datasets
    from unlearning.maskfile import read_mask

    folder = tmp_path / "digits"
    folder.mkdir()
    out = StringIO()
    options = {"name": "digits", "dataset": "digits", "samples": 20, "stdout": out}
    call_command("register_model", str(provider_folder(folder)), **options)
    assert "samples of digits can be looked up" in out.getvalue()
    model = models.GlobalModel.objects.get(uuid=out.getvalue().split()[1])

    summary = imports.import_text(REQUESTS, "csv", actor=ANN)
    assert [line.result for line in summary.lines] == ["filed", "filed"]
    for line in summary.lines:
        request_steps.record_identity(line.request, "email-link", "verified", actor=ANN)
        requests.decide_request(line.request, "approved", actor=ANN)
    train = datasets.load("digits").train
    nines = {int(at) for at in (train.y == 9).nonzero()[0]}
    window = windows.open_window(model, None, [line.request for line in summary.lines])
    windows.close_window(window.uuid)
    assert set(windows.mask_case(window.uuid).config["forget"]["samples"]) == nines | {17, 203}

    tasks.mask(str(models.Job.objects.get(kind="mask").uuid))
    job = models.Job.objects.get(kind="mask")
    assert (job.state, job.error) == ("done", "")
    window.refresh_from_db()
    mask = read_mask(blobs.read(window.mask_sha256))
    total = sum(math.prod(target["shape"]) for target in json.loads((folder / "targets.json").read_text()))
    assert mask.total == total
    said = log.statement(window.mask_entry).predicate  # type: ignore[arg-type]
    assert isinstance(said, predicates.Mask)
    references = sorted(models.DeletionRequest.objects.values_list("reference", flat=True))
    assert said.recipe["forget"] == {"references": references}
    assert said.recipe["forgetSamples"] == 20
    assert "samples" not in str(models.Window.objects.values("mask_config").get()["mask_config"]["forget"])
    holds()
