"""PDF/A: what breaks one of the standard's rules is seen. That reports keep them: test_reports.py."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pikepdf
import pypdfium2
import pytest
from pikepdf import Array, Dictionary, Name, Pdf, String

from ledger.reports import pdf
from tests import pdfa
from tests.ledger.reports.made import report, request


@pytest.fixture(scope="module")
def good() -> bytes:
    data = pdf.render(report("client"), [("bundle.zip", "application/zip", b"PK")])
    assert pdfa.problems(data) == []
    return data


def test_long_tables_are_cut_and_say_so():
    """Typesetting takes memory for every row that is printed; the attached JSON has them all."""
    many = [request(number) for number in range(1, pdf.PRINTED["requests"] + 2)]
    made = report("period").model_copy(update={"requests": many})
    data = pdf.render(made)
    with pikepdf.open(io.BytesIO(data)) as document:
        assert document.attachments["report.json"].get_file().read_bytes() == made.to_json()
    document = pypdfium2.PdfDocument(data)
    words = " ".join(" ".join(page.get_textpage().get_text_bounded() for page in document).split())
    document.close()
    assert f"the first {len(many) - 1} of {len(many)} rows" in words


def an_encrypted_one(document: Pdf) -> dict[str, object]:
    return {"encryption": pikepdf.Encryption(owner="o", user="")}


def javascript(document: Pdf) -> None:
    document.Root.OpenAction = Dictionary(Type=Name.Action, S=Name.JavaScript, JS=String("app.alert(1)"))


def named_javascript(document: Pdf) -> None:
    document.Root.Names.JavaScript = Dictionary(Names=Array([]))


def a_program_to_launch(document: Pdf) -> None:
    document.pages[0].obj.Annots = Array([
        document.make_indirect(Dictionary(
            Type=Name.Annot, Subtype=Name.Link, F=4, Rect=[0, 0, 9, 9],
            A=Dictionary(S=Name.Launch, F=String("cmd.exe")),
        ))
    ])  # fmt: skip


def actions_on_opening_a_page(document: Pdf) -> None:
    document.pages[0].obj.AA = Dictionary(O=Dictionary(S=Name.Named, N=Name.NextPage))


def a_hidden_annotation(document: Pdf) -> None:
    document.pages[0].obj.Annots = Array([Dictionary(Type=Name.Annot, Subtype=Name.Link, F=2, Rect=[0, 0, 9, 9])])


def a_film(document: Pdf) -> None:
    document.pages[0].obj.Annots = Array([Dictionary(Type=Name.Annot, Subtype=Name.Movie, F=4, Rect=[0, 0, 9, 9])])


def a_font_from_elsewhere(document: Pdf) -> None:
    for one in document.objects:
        if isinstance(one, Dictionary) and "/FontDescriptor" in one:
            for key in ("/FontFile", "/FontFile2", "/FontFile3"):
                if key in one.FontDescriptor:
                    del one.FontDescriptor[key]


def letters_without_meaning(document: Pdf) -> None:
    for one in document.objects:
        if isinstance(one, Dictionary) and "/ToUnicode" in one:
            del one["/ToUnicode"]


def no_output_intent(document: Pdf) -> None:
    del document.Root["/OutputIntents"]


def a_profile_that_is_none(document: Pdf) -> None:
    document.Root.OutputIntents[0].DestOutputProfile.write(b"no profile" * 20)


def colours_of_a_printer(document: Pdf) -> None:
    page = document.pages[0]
    page.contents_add(b"/Artifact BMC 1 0 0 0 k EMC")


def marks_without_tags(document: Pdf) -> None:
    document.pages[0].contents_add(b"0 0 9 9 re f")


def no_structure(document: Pdf) -> None:
    del document.Root["/StructTreeRoot"]


def no_marks(document: Pdf) -> None:
    del document.Root["/MarkInfo"]


def no_language(document: Pdf) -> None:
    del document.Root["/Lang"]


def a_figure_without_words(document: Pdf) -> None:
    for one in document.objects:
        if isinstance(one, Dictionary) and one.get("/S") == Name.Figure:
            del one["/Alt"]


def another_level(document: Pdf) -> None:
    with document.open_metadata() as said:
        said["pdfaid:conformance"] = "B"


def no_metadata(document: Pdf) -> None:
    del document.Root["/Metadata"]


def two_titles(document: Pdf) -> None:
    document.docinfo["/Title"] = "Another one"


def a_file_without_relation(document: Pdf) -> None:
    for spec in document.Root.AF:
        del spec["/AFRelationship"]


def a_file_of_nothing(document: Pdf) -> None:
    document.Root.AF = Array([])


def a_file_of_no_type(document: Pdf) -> None:
    for spec in document.Root.AF:
        del spec.EF.F["/Subtype"]


def a_file_without_date(document: Pdf) -> None:
    for spec in document.Root.AF:
        del spec.EF.F.Params["/ModDate"]


def an_old_filter(document: Pdf) -> None:
    document.Root.Old = document.make_stream(b"\x80\x0b\x60\x50\x22\x0c\x0c\x85\x01", Filter=Name.LZWDecode)


def a_stream_elsewhere(document: Pdf) -> None:
    document.Root.Old = document.make_stream(b"", F=Dictionary(Type=Name.Filespec, F=String("/etc/passwd")))


def a_form_that_draws_itself(document: Pdf) -> None:
    document.Root.AcroForm = Dictionary(Fields=Array([]), NeedAppearances=True)


def a_transfer_function(document: Pdf) -> None:
    document.Root.Old = document.make_indirect(Dictionary(Type=Name.ExtGState, TR=Name.Identity))


def a_presentation(document: Pdf) -> None:
    document.pages[0].obj.PresSteps = Dictionary(Type=Name.NavNode)


@pytest.mark.parametrize(
    ("breach", "complaint"),
    [
        (an_encrypted_one, "6.1.3: the file is encrypted"),
        (javascript, "6.5.1: there is an action /JavaScript"),
        (named_javascript, "6.5.1: the names have /JavaScript"),
        (a_program_to_launch, "6.5.1: there is an action /Launch"),
        (actions_on_opening_a_page, "6.5.2: page 1 has actions"),
        (a_hidden_annotation, "6.3.2: an annotation is not printed, or hidden"),
        (a_film, "6.3.1: there is an annotation of kind /Movie"),
        (a_font_from_elsewhere, "6.2.11.4: "),
        (letters_without_meaning, "6.2.11.7.2: "),
        (no_output_intent, "6.2.3: there is no output intent"),
        (a_profile_that_is_none, "6.2.3: a colour profile is none"),
        (colours_of_a_printer, "6.2.4.3: page 1 uses DeviceCMYK"),
        (marks_without_tags, "6.7.3: page 1 shows something"),
        (no_structure, "6.7.3: there is no structure"),
        (no_marks, "6.7.2: "),
        (no_language, "6.7.4: "),
        (a_figure_without_words, "6.7.3: a figure has no alternative text"),
        (another_level, "6.6.4: "),
        (no_metadata, "6.6.2: there is no metadata"),
        (two_titles, "6.6.3: "),
        (a_file_without_relation, "6.8: .* does not say what it is"),
        (a_file_of_nothing, "6.8: .* is associated with nothing"),
        (a_file_of_no_type, "6.8: .* has no media type"),
        (a_file_without_date, "6.8: .* has no date"),
        (an_old_filter, "6.1.7.2: "),
        (a_stream_elsewhere, "6.1.7.1: "),
        (a_form_that_draws_itself, "6.4: "),
        (a_transfer_function, "6.2.5: "),
        (a_presentation, "6.10: page 1"),
    ],
)
def test_what_breaks_a_rule_is_seen(good: bytes, breach: Callable[[Pdf], dict[str, object] | None], complaint: str):
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(good)) as document:
        more = breach(document) or {}
        document.save(out, compress_streams=False, **more)
    found = pdfa.problems(out.getvalue())
    assert any(re.match(complaint, one) for one in found), found


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda data: b"\n" + data, "6.1.2: "),
        (lambda data: data + b"more", "6.1.3: something follows"),
        (lambda data: data[: len(data) // 2], "6.1.1: the file cannot be read"),
        (lambda data: data.replace(b"%PDF-1.7", b"%PDF-2.0", 1), "6.1.2: "),
    ],
)
def test_damage_is_seen(good: bytes, damage: Callable[[bytes], bytes], complaint: str):
    assert any(one.startswith(complaint) for one in pdfa.problems(damage(good)))
