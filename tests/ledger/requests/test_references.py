"""What a request wants forgotten: looked up, previewed, frozen at approval, named neither in log nor tables."""

from __future__ import annotations

import hashlib
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from ledger import log, models, vault
from ledger.statements import canonical, predicates
from ledger.statements.dsse import Envelope
from ledger.workflow import requests, windows
from ledger.workflow.datasets import Sample, register_dataset
from ledger.workflow.errors import WorkflowError
from ledger.workflow.references import Reference, compose, full_reference, mask_reference, overlap, preview
from tests.ledger.requests.parts import approved, filed, holds, pets, refused, verified
from tests.ledger.story import TOTAL, Story

pytestmark = pytest.mark.django_db


def of(**what: Any) -> dict[str, Any]:
    return {"dataset": "pets", **what}


@pytest.mark.parametrize(
    ("what", "matches", "form"),
    [
        ({"class": 1}, 2, {"class": 1}),
        ({"classes": [2, 1, 2]}, 4, {"classes": [1, 2]}),
        ({"samples": ["bob-1", "ada-2", "bob-1"]}, 2, {"samples": [1, 2]}),
        ({"query": {"site": "north"}}, 3, {"samples": [0, 2, 4]}),
        ({"query": {"site": "south", "year": 2024}}, 2, {"samples": [1, 5]}),  # a number in a text column
        ({"query": {"class": 2, "year": "2025"}}, 2, {"samples": [3, 4]}),
    ],
)
def test_every_form(what: dict, matches: int, form: dict) -> None:
    index = pets()
    assert preview(of(**what)).matches == matches
    request = approved(forget=of(**what))
    assert (request.matches, request.index) == (matches, index)
    assert mask_reference(request) == form
    assert full_reference(request).json() == Reference.parse(of(**what)).json()
    holds()


def test_types_of_json_lines_are_kept() -> None:
    register_dataset("d", [Sample("a", 0, {"n": 7, "on": True}), Sample("b", 0, {"n": 8, "on": False})])
    for query in ({"n": 7}, {"n": "7"}, {"on": True}):
        assert preview({"dataset": "d", "query": query}).matches == 1


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ({"class": 7}, "no-match", "no sample of pets has class 7"),
        ({"classes": [1, 7]}, "no-match", "no sample of pets has class 7"),
        ({"samples": ["ada-1", "zoe-1"]}, "no-match", "1 of the 2 samples named are not in the index of pets"),
        ({"query": {"site": "west"}}, "no-match", "no sample of pets matches the query"),
        ({"query": {"color": "red"}}, "bad-query", "no field 'color', only class, site, year"),
        ({"classes": [0, 1, 2]}, "matches-everything", "nothing would be left"),
    ],
)
def test_what_matches_nothing_or_all(what: dict, code: str, words: str) -> None:
    pets()
    with pytest.raises(WorkflowError, match=words) as caught:
        preview(of(**what))
    assert "zoe" not in str(caught.value)
    with refused(code, 422):
        filed(forget=of(**what))


BAD: list[Any] = [
    {}, [], None, {"dataset": "d"}, {"class": 1}, {"dataset": "d", "class": True}, {"dataset": "d", "class": -1},
    {"dataset": "d", "class": "1"}, {"dataset": "", "class": 1}, {"dataset": 3, "class": 1},
    {"dataset": "d\x00", "class": 1}, {"dataset": "d", "class": 1, "classes": [1]},
    {"dataset": "d", "class": 2**31},
    {"dataset": "d", "class": 1, "note": "x"}, {"dataset": "d", "classes": []}, {"dataset": "d", "classes": [[]]},
    {"dataset": "d", "samples": []}, {"dataset": "d", "samples": [[]]}, {"dataset": "d", "samples": ["\x00"]},
    {"dataset": "d", "samples": "abc"}, {"dataset": "d", "query": {}}, {"dataset": "d", "query": {"a": [1]}},
    {"dataset": "d", "\ud800": 1}, {"dataset": "d", "query": {"a": 1.5}},
    {"dataset": "d", "query": {"a": "\ud800"}},
]  # fmt: skip


@pytest.mark.parametrize("forget", BAD, ids=range(len(BAD)))
def test_malformed(forget: Any) -> None:
    with refused("bad-forget", 422):
        filed(forget=forget)
    assert models.SubjectRecord.objects.count() == 0


def test_without_an_index_only_classes() -> None:
    assert preview({"dataset": "unknown", "class": 1}).matches is None
    assert approved(forget={"dataset": "unknown", "class": 1}).matches is None
    for what in ({"samples": ["a"]}, {"query": {"a": 1}}):
        with refused("no-index", 422):
            filed(forget={"dataset": "unknown", **what})


def test_an_approval_freezes_what_it_found() -> None:
    pets()
    request = approved(forget=of(query={"site": "north"}))
    register_dataset("pets", [Sample("new", 0, {"site": "north"}), Sample("old", 0, {"site": "south"})])
    assert mask_reference(request) == {"samples": [0, 2, 4]}
    late = approved(subject="Bob", forget=of(query={"site": "north"}))
    assert mask_reference(late) == {"samples": [0]}


def test_the_reference_in_the_log_opens_with_its_salt() -> None:
    index = pets()
    request = approved(forget=of(samples=["eve-1"]))
    assert request.frozen is not None
    record = vault.unseal(request.frozen)
    assert record | {"salt": ""} == {
        "request": str(request.uuid), "dataset": "pets", "index": index.digest, "samples": [4], "salt": "",
    }  # fmt: skip
    salt = bytes.fromhex(record.pop("salt"))
    said = log.statement(request.decision_entry).predicate  # type: ignore[arg-type]
    assert isinstance(said, predicates.RequestDecision)
    assert said.reference == hashlib.sha256(salt + canonical.dumps(record)).hexdigest() == request.reference


def test_what_no_longer_matches_is_not_approved() -> None:
    pets()
    request = verified(forget=of(samples=["eve-1"]))
    register_dataset("pets", [Sample("ada-1", 0, {}), Sample("bob-1", 1, {})])
    with refused("no-match", 422):
        requests.decide_request(request.uuid, "approved")
    assert models.DeletionRequest.objects.get().state == "open"


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ({"class": 1}, {"classes": [1, 2]}, True),
        ({"class": 1}, {"class": 2}, False),
        ({"samples": ["ada-1"]}, {"samples": ["bob-1", "ada-1"]}, True),
        ({"samples": ["ada-1"]}, {"samples": ["bob-1"]}, False),
        ({"samples": ["ada-1"]}, {"class": 0}, True),
        ({"samples": ["ada-1"]}, {"class": 1}, False),
        ({"query": {"site": "north"}}, {"class": 1}, True),
        ({"query": {"site": "north"}}, {"query": {"site": "south"}}, False),
    ],
)
def test_overlap(one: dict, other: dict, common: bool) -> None:
    pets()
    pair = Reference.parse(of(**one)), Reference.parse(of(**other))
    assert overlap(*pair) is overlap(*reversed(pair)) is common
    assert not overlap(pair[0], Reference.parse({**of(**other), "dataset": "else"}))


class TestWindows:
    """Requests of several forms in one window, from request to mask."""

    @pytest.fixture
    def window(self, story: Story) -> models.Window:
        models.GlobalModel.objects.update(dataset="pets")
        pets()
        story.model.refresh_from_db()
        three = [
            approved(subject="Ada", forget=of(samples=["ada-1"])),
            approved(subject="Bob", forget=of(**{"class": 1})),
            approved(subject="Eve", forget=of(query={"site": "south", "year": 2025})),
        ]
        window = windows.open_window(story.model, None, [request.uuid for request in three])
        return windows.close_window(window.uuid)

    def test_the_mask_job_gets_the_union(self, window: models.Window) -> None:
        assert windows.mask_case(window.uuid).config["forget"] == {"samples": [0, 1, 2, 3]}

    def test_neither_log_nor_tables_name_a_sample(self, window: models.Window) -> None:
        recipe = {"seed": 0, **windows.mask_case(window.uuid).config}
        windows.publish_mask(window.uuid, b"mask", 2, TOTAL, recipe)
        window.refresh_from_db()
        said = log.statement(window.mask_entry).predicate  # type: ignore[arg-type]
        assert isinstance(said, predicates.Mask)
        references = sorted(models.DeletionRequest.objects.values_list("reference", flat=True))
        assert said.recipe["forget"] == {"references": references}
        for entry in models.LogEntry.objects.all():
            payload = Envelope.parse(bytes(entry.envelope)).payload
            assert not any(word in payload for word in (b"ada-1", b'"south"', b'"samples"'))
        told = str([list(table.objects.values()) for table in _tables()])
        assert not any(word in told for word in ("ada-1", "south", "'samples': ["))

    def test_whole_classes_stay_classes(self) -> None:
        pets()
        one, two = approved(forget=of(**{"class": 1})), approved(subject="Bob", forget=of(classes=[2, 1]))
        assert compose([one]) == {"class": 1}
        assert compose([one, two]) == {"classes": [1, 2]}


def _tables() -> list[Any]:
    return [models.DeletionRequest, models.Window, models.Event, models.Job, models.IdentityCheck, models.Approval]


class TestIndexFiles:
    def test_both_formats_give_one_digest(self, tmp_path: Path) -> None:
        table, lines = tmp_path / "pets.csv", tmp_path / "pets.jsonl"
        table.write_text('id,class,site\na,0,north\n"b",,"so\nuth"\n')
        lines.write_text('{"id": "a", "class": 0, "site": "north"}\n{"id": "b", "site": "so\\nuth"}\n')
        out = StringIO()
        call_command("register_dataset", "one", str(table), stdout=out)
        assert "2 samples of one, fields class, site, digest" in out.getvalue()
        call_command("register_dataset", "two", str(lines), stdout=out)
        digests = set(models.DatasetIndex.objects.values_list("digest", flat=True))
        assert len(digests) == 1
        rows = [[0, "a", 0, {"site": "north"}], [1, "b", None, {"site": "so\nuth"}]]
        assert digests == {hashlib.sha256(b"".join(canonical.dumps(row) + b"\n" for row in rows)).hexdigest()}

    def test_again_is_once_and_another_takes_its_place(self, tmp_path: Path) -> None:
        file = tmp_path / "d.csv"
        for content in ("id,class\na,0\nb,1\n", "id,class\na,0\nb,1\n", "id,class\na,0\nc,1\n"):
            file.write_text(content)
            call_command("register_dataset", "d", str(file), stdout=StringIO())
        found = models.DatasetIndex.objects.order_by("created_at").values_list("current", flat=True)
        assert list(found) == [False, True]
        assert models.Event.objects.filter(kind="dataset.indexed").count() == 2

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("a.csv", "name,class\na,1\n", "line 1: got the columns name, class; expected id"),
            ("a.csv", "id,id\na,1\n", "expected id, and none twice"),
            ("a.csv", "id,class\na,x\n", "line 2: a class is a number from 0, got 'x'"),
            ("a.csv", "id,class\na,1,2\n", "line 2: expected 2 columns"),
            ("a.csv", "id,class\na,1\nb\n", "line 3: expected 2 columns"),
            ("a.csv", "id,class\na,1\na,2\n", "sample 2 has the id of sample 1"),
            ("a.csv", "id\n", "at least one sample"),
            ("a.csv", "", "line 1: got the columns"),
            ("a.jsonl", '{"id": "a"}\n[]\n', "line 2: expected an object"),
            ("a.jsonl", '{"id": "a", "id": "b"}\n', "occurs twice"),
            ("a.jsonl", '{"id": "a", "x": 1.5}\n', "line 1: field 'x' is text, a whole number"),
            ("a.jsonl", '{"id": "a", "x": null}\n', "line 1: field 'x' is text"),
            ("a.jsonl", '{"id": "\\u0000"}\n', "line 1: an id has 1 to 200 printable characters"),
            ("a.txt", "x", "a .csv or .jsonl file"),
        ],
    )
    def test_bad_files(self, tmp_path: Path, name: str, content: str, words: str) -> None:
        file = tmp_path / name
        file.write_text(content)
        with pytest.raises(CommandError, match=words):
            call_command("register_dataset", "d", str(file))
        assert models.DatasetIndex.objects.count() == 0

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        file = tmp_path / "a.csv"
        file.write_bytes(b"id\n\xff\n")
        with pytest.raises(CommandError, match="cannot be read as UTF-8"):
            call_command("register_dataset", "d", str(file))
        with pytest.raises(CommandError, match="cannot be read"):
            call_command("register_dataset", "d", str(tmp_path / "none.csv"))


def test_a_query_can_be_answered_without_reading_the_table() -> None:
    register_dataset("large", (Sample(str(n), n % 10, {"site": f"s{n % 100}"}) for n in range(2_000)))
    reference = Reference.parse({"dataset": "large", "query": {"site": "s7"}})
    found = preview(reference)
    assert found.matches == 20
    assert found.index is not None
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_indexscan = off")
    plan = models.IndexedSample.objects.filter(fields__contains={"site": "s7"}).order_by().explain()
    assert "samples_by_fields" in plan
