"""Names in any script: a report that cannot be typeset would be one that somebody's name can prevent."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime

from ledger.reports import pdf, schema
from tests.ledger.reports.test_reports import text_of
from tests.ledger.story import nobody

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LOG = schema.Log(
    origin="x", vkey="x", provider_key="x", size=1, root="0" * 64, checkpoint="x\n1\nAAAA\n\n— x AAAA\n"
)


def typeset(*names: str) -> str:
    """The pages of a report whose clients have these names, without places to break and line ends."""
    orders = [
        schema.Order(
            order=nobody(), window=nobody(), client=nobody(), client_name=name, state="issued", attempts=0,
            coverage="full", due_at=NOW, claimed_at=None, late=False, result=None, verdict_at=None,
            touched_chunks=None, proved_chunks=None, failed_chunks=None, detection=None, bundle_sha256=None,
            srs_provenance="", exception_reason="", order_entry=1, verdict_entry=None,
        )
        for name in names
    ]  # fmt: skip
    about = schema.About(scope="client", id=nobody(), name=names[0])
    report = schema.Report(
        report=str(uuid.uuid4()), about=about, made_at=NOW, personal_data=False, log=LOG, orders=orders
    )
    return "".join(text_of(pdf.render(report)).replace("\u200b", "").split())


def test_no_name_prevents_a_report() -> None:
    """Every character up to the Arabic block and of all punctuation; stresses on Cyrillic, marks upon nothing."""
    every = [*range(0x700), *range(0x1E00, 0x2200)]
    names = ["".join(map(chr, every[first : first + 60])) for first in range(0, len(every), 60)]
    names += ["Ива\u0301н", "\u0301\u0489", "К\u0487", "5\u0488", "مُحَمَّد", "\ufdfa", "\U0001f468\u200d\U0001f469"]
    text = typeset(*names)
    for shown in ("[U+0378]", "[U+0485]", "Ива[U+0301]н", "[U+1F468][U+200D]"):
        assert shown in text, shown


def test_no_order_of_characters_does() -> None:
    """What is shown is shown next to anything: fonts have no say in how names are made up."""
    chance = random.Random(1)
    shown = [chr(one) for first, last in pdf._SHOWN for one in range(first, last + 1)]
    typeset(*("".join(chance.choices(shown, k=40)) for _ in range(150)))


def test_letters_with_accents_are_composed() -> None:
    assert "Müller,Nguyễn" in typeset("Mu\u0308ller, Nguye\u0302\u0303n")
