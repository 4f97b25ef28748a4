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
    whole = report("request")
    small = {"orders": [], "windows": [], "requests": whole.requests[:1], "certificates": whole.certificates[:1]}
    data = pdf.render(whole.model_copy(update=small), [("bundle.zip", "application/zip", b"PK")])
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


def in_a_page(content: bytes) -> Callable[[Pdf], None]:
    """Operators of an artefact, so that nothing else is wrong with them."""
    return lambda document: document.pages[0].contents_add(b"/Artifact BMC " + content + b" EMC")


def in_an_object(**said: object) -> Callable[[Pdf], None]:
    """An object that nothing leads to but the catalogue."""

    def breach(document: Pdf) -> None:
        document.Root.Old = document.make_indirect(Dictionary(**said))

    return breach


def in_a_stream(**said: object) -> Callable[[Pdf], None]:
    def breach(document: Pdf) -> None:
        document.Root.Old = document.make_stream(b"", **said)

    return breach


def in_an_annotation(**said: object) -> Callable[[Pdf], None]:
    def breach(document: Pdf) -> None:
        document.pages[0].obj.Annots = Array([Dictionary(Type=Name.Annot, F=4, Rect=[0, 0, 9, 9], **said)])

    return breach


def in_the_metadata(old: bytes, new: bytes) -> Callable[[Pdf], None]:
    def breach(document: Pdf) -> None:
        data = document.Root.Metadata.read_bytes()
        assert old in data
        document.Root.Metadata.write(data.replace(old, new, 1))

    return breach


def in_a_font(change: Callable[[Pdf, Dictionary], None], key: str = "/DescendantFonts") -> Callable[[Pdf], None]:
    """Something changed in the first font that has `key`."""

    def breach(document: Pdf) -> None:
        fonts = [one for one in document.objects if isinstance(one, Dictionary) and one.get("/Type") == Name.Font]
        change(document, next(one for one in fonts if key in one))

    return breach


def a_simple_font(document: Pdf, font: Dictionary) -> None:
    font.Subtype, font.FontDescriptor = Name.TrueType, font.DescendantFonts[0].FontDescriptor


def a_glyph_in_private(document: Pdf, font: Dictionary) -> None:
    font.ToUnicode = document.make_stream(b"1 beginbfchar\n<0001> <E001>\nendbfchar")


def an_encoding_of_another_collection(document: Pdf, font: Dictionary) -> None:
    said = Dictionary(Registry=String("Adobe"), Ordering=String("Japan1"), Supplement=0)
    font.Encoding = document.make_stream(b"/WMode 1 def", CIDSystemInfo=said)


def an_encoding_that_is_sideways(document: Pdf, font: Dictionary) -> None:
    font.Encoding = document.make_stream(b"/WMode 1 def", CIDSystemInfo=font.DescendantFonts[0].CIDSystemInfo)


def other_widths(document: Pdf, font: Dictionary) -> None:
    font.W = Array([0, 500, 123])


def a_list_of_no_glyphs(document: Pdf, font: Dictionary) -> None:
    font.FontDescriptor.CIDSet = document.make_stream(b"\x80")


def a_font_that_is_none(document: Pdf, font: Dictionary) -> None:
    for key in ("/FontFile2", "/FontFile3"):
        if key in font.FontDescriptor:
            font.FontDescriptor[key].write(b"no font" * 20)


def permissions_of_its_own(document: Pdf) -> None:
    document.Root.Perms = Dictionary(FieldMDP=Dictionary())


def a_profile_from_elsewhere(document: Pdf) -> None:
    document.Root.OutputIntents[0].DestOutputProfileRef = Dictionary()


def a_profile_of_a_scanner(document: Pdf) -> None:
    data = document.Root.OutputIntents[0].DestOutputProfile.read_bytes()
    document.Root.OutputIntents[0].DestOutputProfile.write(data[:12] + b"scnr" + data[16:])


def layers(**said: object) -> Callable[[Pdf], None]:
    def breach(document: Pdf) -> None:
        layer = document.make_indirect(Dictionary(Type=Name.OCG, Name=String("a layer")))
        document.Root.OCProperties = Dictionary(OCGs=Array([layer]), D=Dictionary(**said))

    return breach


def a_page_as_large_as_a_house(document: Pdf) -> None:
    document.pages[0].obj.MediaBox = Array([0, 0, 20_000, 20_000])


def a_form_in_colours_of_a_printer(document: Pdf) -> None:
    document.Root.Old = document.make_stream(b"1 0 0 0 k", Subtype=Name.Form, BBox=[0, 0, 9, 9])


def a_number_beyond_bounds(document: Pdf) -> None:
    document.Root.Old = Dictionary(N=2**31)


def metadata_of_an_object(document: Pdf) -> None:
    document.pages[0].obj.Metadata = document.make_stream(b"<x", Type=Name.Metadata, Subtype=Name.XML)


def another_meaning_of_a_paragraph(document: Pdf) -> None:
    document.Root.StructTreeRoot.RoleMap["/P"] = Name.Span


def roles_in_a_circle(document: Pdf) -> None:
    document.Root.StructTreeRoot.RoleMap["/One"] = Name.Another
    document.Root.StructTreeRoot.RoleMap["/Another"] = Name.One
    next(one for one in document.objects if isinstance(one, Dictionary) and one.get("/S") == Name.P).S = Name.One


def an_element_in_no_language(document: Pdf) -> None:
    next(one for one in document.objects if isinstance(one, Dictionary) and one.get("/S") == Name.P).Lang = String(
        "?"
    )


def marks_that_lead_nowhere(document: Pdf) -> None:
    del document.pages[0].obj["/StructParents"]


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
        (permissions_of_its_own, "6.1.12: "),
        (in_a_stream(Filter=Name.CCITTFax), "6.1.7.2: a stream is filtered by /CCITTFax"),
        (in_a_page(b"q BI /W 1 /H 1 /BPC 8 /CS /G /F /LZW ID x EI Q"), "6.1.10: page 1"),
        (a_number_beyond_bounds, "6.1.13: there is the number 2147483648"),
        (in_an_object(N=Name("/" + "n" * 200)), "6.1.13: a name has more than 127 bytes"),
        (in_an_object(S=String("s" * 33_000)), "6.1.13: a string has more"),
        (in_a_page(b"q " * 29 + b"Q " * 29), "6.1.13: page 1 saves its state"),
        (a_page_as_large_as_a_house, "6.1.13: page 1 is of no size"),
        (in_a_page(b"1 2 nonsense"), "6.2.2: page 1 has the operator nonsense"),
        (a_profile_from_elsewhere, "6.2.3: an output intent's profile lies elsewhere"),
        (a_profile_of_a_scanner, "6.2.3: the output intent's profile is neither"),
        (a_form_in_colours_of_a_printer, "6.2.4.3: a form or pattern uses DeviceCMYK"),
        (in_a_stream(Subtype=Name.Image, ColorSpace=Name.DeviceCMYK), "6.2.4.3: /DeviceCMYK is used"),
        (in_a_page(b"q BI /W 1 /H 1 /BPC 8 /CS /CMYK ID xxxx EI Q"), "6.2.4.3: page 1 has an image in /DeviceCMYK"),
        (in_an_object(Type=Name.ExtGState, HTP=Array([0, 0])), "6.2.5: a graphics state shifts"),
        (
            in_an_object(Type=Name.ExtGState, HT=Dictionary(HalftoneType=6)),
            "6.2.5: a graphics state has a halftone",
        ),
        (in_an_object(Type=Name.ExtGState, BM=Name.Foo), "6.2.10: there is a blend mode /Foo"),
        (in_an_object(Type=Name.ExtGState, RI=Name.Foo), "6.2.6: a graphics state"),
        (in_a_page(b"/Foo ri"), "6.2.6: page 1 wants"),
        (in_a_stream(Subtype=Name.Image, Intent=Name.Foo), "6.2.6: an image wants"),
        (in_a_stream(Subtype=Name.Image, Interpolate=True), "6.2.8: an image is interpolated"),
        (in_a_page(b"q BI /W 1 /H 1 /BPC 8 /CS /G /I true ID x EI Q"), "6.2.8: page 1 has an image"),
        (in_a_stream(Subtype=Name.Image, BitsPerComponent=3), "6.2.8: an image has 3 bits"),
        (in_a_stream(Subtype=Name.Image, Alternates=Array([])), "6.2.8: an image has alternates"),
        (in_a_stream(Subtype=Name.Form, Subtype2=Name.PS), "6.2.9: "),
        (in_a_font(a_simple_font), "6.2.11.2: "),
        (in_a_font(an_encoding_of_another_collection), "6.2.11.3.1: "),
        (in_a_font(an_encoding_that_is_sideways), "6.2.11.3.3: "),
        (in_a_font(a_font_that_is_none, "/FontDescriptor"), "6.2.11.4: .* is no font"),
        (in_a_font(a_list_of_no_glyphs, "/FontDescriptor"), "6.2.11.4.2: "),
        (in_a_font(other_widths, "/FontDescriptor"), "6.2.11.5: "),
        (in_a_font(a_glyph_in_private), "6.2.11.7.3: "),
        (in_a_page(b"BT /f0 9 Tf (\\000\\000) Tj ET"), "6.2.11.8: page 1"),
        (
            in_an_annotation(Subtype=Name.Link, AP=Dictionary(D=Dictionary())),
            "6.3.3: an annotation looks otherwise",
        ),
        (in_an_annotation(Subtype=Name.Stamp), "6.3.3: an annotation has no looks"),
        (in_an_object(Type=Name.Annot, Subtype=Name.Widget, F=4, AA=Dictionary()), "6.4.1: "),
        (in_an_object(FT=Name.Tx, AA=Dictionary()), "6.4.1: "),
        (in_an_object(Type=Name.Action, S=Name.Named, N=Name.Print), "6.5.1: there is a named action /Print"),
        (in_the_metadata(b"<?xpacket begin", b"<?xpacket bytes='9' begin"), "6.6.2.1: the metadata's header"),
        (in_the_metadata(b"</rdf:RDF>", b"</rdf:RDG>"), "6.6.2.1: the metadata is not XML"),
        (metadata_of_an_object, "6.6.2.1: the metadata is not XML"),
        (
            in_the_metadata(b"<dc:title>", b"<x:y xmlns:x='urn:x'>z</x:y><dc:title>"),
            "6.6.2.3: the metadata uses urn:x",
        ),
        (in_the_metadata(b"<pdfaid:part>3", b"<pdfaid:part>2"), "6.6.4: "),
        (in_the_metadata(b"http://www.aiim.org/pdfa/ns/id/", b"urn:id"), "6.6.4: pdfaid is not the schema"),
        (in_the_metadata(b"<xmp:CreateDate>2", b"<xmp:CreateDate>1"), "6.6.3: CreationDate"),
        (in_the_metadata(b"Unlearning ledger", b"Somebody else"), "6.6.3: Author"),
        (another_meaning_of_a_paragraph, "6.7.3.4: /P, which everybody knows"),
        (roles_in_a_circle, "6.7.3.4: the structure has "),
        (marks_that_lead_nowhere, "6.7.3: page 1 has marks that no element"),
        (an_element_in_no_language, "6.7.4: an element"),
        (layers(), "6.9: a configuration of layers has no name"),
        (layers(Name=String("all"), AS=Array([])), "6.9: layers are shown"),
        (layers(Name=String("all"), Order=Array([])), "6.9: a layer is missing"),
    ],
)
def test_what_breaks_a_rule_is_seen(good: bytes, breach: Callable[[Pdf], dict[str, object] | None], complaint: str):
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(good)) as document:
        more = breach(document) or {}
        document.save(out, compress_streams=False, fix_metadata_version=False, **more)
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
