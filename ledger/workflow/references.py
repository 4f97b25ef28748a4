"""What a request wants forgotten, as a reference that can be resolved to training samples.

A reference is one of

    {"dataset": name, "class": 8}                   all training samples of a class
    {"dataset": name, "classes": [1, 2]}
    {"dataset": name, "samples": ["a17", "b3"]}     samples by their id in the data set's index
    {"dataset": name, "query": {"site": "north"}}   samples whose fields have these values; "class" is a field too

Classes may be named without an index; samples and queries need one. Approval resolves a reference and freezes what
it found: the log gets a salted commitment, the vault the samples. Which samples they are may tell who asked, so
neither the database nor the log says so in the clear.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from ledger import vault
from ledger.models import DatasetIndex, DeletionRequest, IndexedSample, SubjectRecord
from ledger.statements import canonical
from ledger.workflow.datasets import current_index
from ledger.workflow.errors import WorkflowError

SALT_BYTES: Final = 32
MOST_REFERENCES: Final = 500
MAX_SAMPLES, MAX_CLASSES, MAX_FIELDS = 100_000, 1_000, 20
_FORMS: Final = (
    '{"dataset": name} and one of "class": number, "classes": [numbers], "samples": [ids], "query": {field: value}'
)


@dataclass(frozen=True)
class Reference:
    """A reference in its one spelling: lists sorted, each member once."""

    dataset: str
    kind: str
    value: Any

    @classmethod
    def parse(cls, forget: Any) -> Reference:
        """Read what a person wrote. Raises WorkflowError (422) that repeats no sample and no value of a query."""
        if not isinstance(forget, Mapping):
            raise _bad(_("got %(name)s") % {"name": type(forget).__name__})
        kinds = [kind for kind in _PARSERS if kind in forget]
        if len(kinds) != 1 or set(forget) != {"dataset", kinds[0]}:
            names = ", ".join(sorted(repr(str(name)) for name in forget))
            raise _bad(_("got the members %(names)s") % {"names": names[:200]})
        dataset = forget["dataset"]
        if not _is_name(dataset):
            raise _bad(_("the data set's name is text of 1 to 200 characters"))
        return cls(dataset, kinds[0], _PARSERS[kinds[0]](forget[kinds[0]]))

    def json(self) -> dict[str, Any]:
        """As `parse` reads it."""
        return {"dataset": self.dataset, self.kind: self.value}

    def public(self) -> dict[str, Any]:
        """What may stand in the database in the clear."""
        return self.json() if self.classes is not None else {"dataset": self.dataset, "sealed": self.kind}

    @property
    def classes(self) -> set[int] | None:
        """The classes, where it names whole classes."""
        if self.kind in ("class", "classes"):
            return set(self.value) if self.kind == "classes" else {self.value}
        return None


@dataclass(frozen=True)
class Preview:
    """What a reference matches now; `matches` is None where the data set has no index."""

    reference: Reference
    index: DatasetIndex | None
    matches: int | None

    @property
    def sentence(self) -> str:
        """For people."""
        if self.index is None:
            return _("the data set %(name)s has no sample index: nothing was counted") % {
                "name": repr(self.reference.dataset)
            }
        counts = {"n": self.matches, "all": self.index.samples, "name": self.index.name}
        return _("%(n)s of %(all)s samples of %(name)s match") % counts


def preview(forget: Any) -> Preview:
    """Count what a reference matches. Raises WorkflowError (422): malformed, no index, nothing or everything."""
    reference = forget if isinstance(forget, Reference) else Reference.parse(forget)
    index = current_index(reference.dataset)
    if index is None:
        if reference.classes is None:
            raise WorkflowError(
                "no-index",
                _(
                    "%(kind)s of %(dataset)s cannot be looked up: register its sample index first "
                    "(manage.py register_dataset); indexed are: %(indexed)s"
                )
                % {"kind": reference.kind, "dataset": repr(reference.dataset), "indexed": _indexed()},
                422,
            )
        return Preview(reference, None, None)
    return Preview(reference, index, _count(reference, index))


def matching(reference: Reference, index: DatasetIndex) -> QuerySet[IndexedSample]:
    """The samples of a reference."""
    rows = index.rows.all()
    if reference.classes is not None:
        return rows.filter(label__in=reference.classes)
    if reference.kind == "samples":
        return rows.filter(sample__in=reference.value)
    for name, value in reference.value.items():
        rows = rows.filter(_has(name, value))
    return rows


def overlap(one: Reference, other: Reference) -> bool:
    """Whether two references have samples in common, as far as can be told today."""
    if one.dataset != other.dataset:
        return False
    if one.classes is not None and other.classes is not None:
        return bool(one.classes & other.classes)
    if one.kind == other.kind == "samples":
        return not set(one.value).isdisjoint(other.value)
    index = current_index(one.dataset)
    return index is not None and matching(one, index).filter(pk__in=matching(other, index)).exists()


def full_reference(request: DeletionRequest) -> Reference:
    """The reference as it was filed, samples included. Raises VaultError once the request is erased."""
    if "sealed" not in request.forget:
        return Reference.parse(request.forget)
    return Reference.parse(vault.unseal(request.subject)["forget"])


def freeze(request: DeletionRequest) -> None:
    """Fix what an approval is about: fills index, matches, reference and frozen of an unsaved change to the row."""
    found = preview(full_reference(request))
    record: dict[str, Any] = {"request": str(request.uuid), "dataset": found.reference.dataset}
    if found.reference.classes is not None:
        record[found.reference.kind] = found.reference.value
    else:
        assert found.index is not None, "preview has looked it up"
        positions = matching(found.reference, found.index).order_by("position")
        record["samples"] = list(positions.values_list("position", flat=True))
    if found.index is not None:
        record["index"] = found.index.digest
    salt = os.urandom(SALT_BYTES)
    request.index, request.matches = found.index, found.matches
    request.reference = hashlib.sha256(salt + canonical.dumps(record)).hexdigest()
    request.frozen = vault.seal(record | {"salt": salt.hex()})


def mask_reference(request: DeletionRequest) -> dict[str, Any]:
    """What an approved request wants forgotten, as a mask's configuration takes it: {"class": 8},
    {"classes": [1, 2]} or {"samples": [positions in the training set]}.
    """
    record = request.forget if request.frozen is None else vault.unseal(request.frozen)
    return {kind: record[kind] for kind in ("class", "classes", "samples") if kind in record}


def compose(requests: Iterable[DeletionRequest]) -> dict[str, Any]:
    """What several approved requests of one data set want forgotten together, in the same forms.

    Whole classes stay classes; beside single samples they become samples, for which they need an index (409).
    """
    chosen = list(requests)
    forms = [mask_reference(request) for request in chosen]
    if all("samples" not in form for form in forms):
        classes = sorted(set().union(*map(_classes_of, forms)))
        return {"class": classes[0]} if len(classes) == 1 else {"classes": classes}
    positions: set[int] = set()
    for request, form in zip(chosen, forms, strict=True):
        positions.update(form["samples"] if "samples" in form else _positions(request, _classes_of(form)))
    return {"samples": sorted(positions)}


def public_forget(requests: Iterable[DeletionRequest]) -> dict[str, Any]:
    """The same as it may be stored in the clear and logged: instead of samples, the approvals' commitments; of many
    of these their number and the SHA-256 of their canonical JSON, for a mask's statement to fit an entry.
    """
    chosen = list(requests)
    if all("sealed" not in request.forget for request in chosen):
        return compose(chosen)
    references = sorted(request.reference for request in chosen)
    if len(references) <= MOST_REFERENCES:
        return {"references": references}
    digest = hashlib.sha256(canonical.dumps(references)).hexdigest()
    return {"referencesSha256": digest, "count": len(references)}


def public_recipe(recipe: Mapping[str, Any], requests: Iterable[DeletionRequest]) -> dict[str, Any]:
    """A mask's recipe as it may be logged."""
    forget = recipe.get("forget")
    if not isinstance(forget, Mapping) or "samples" not in forget:
        return dict(recipe)
    return {**recipe, "forget": public_forget(requests)}


def sealed_records(request: DeletionRequest) -> list[SubjectRecord]:
    """The sealed records of a request besides its subject: all of them go when that goes."""
    details = [check.detail for check in request.identity_checks.select_related("detail") if check.detail]
    return details if request.frozen is None else [request.frozen, *details]


def _classes_of(form: Mapping[str, Any]) -> set[int]:
    return {form["class"]} if "class" in form else set(form["classes"])


def _positions(request: DeletionRequest, classes: set[int]) -> list[int]:
    index = request.index or current_index(request.dataset)
    if index is None:
        raise WorkflowError(
            "no-index",
            _("%(dataset)s has no sample index to look classes up in") % {"dataset": repr(request.dataset)},
            409,
        )
    return list(index.rows.filter(label__in=classes).values_list("position", flat=True))


def _count(reference: Reference, index: DatasetIndex) -> int:
    if reference.kind == "query":
        unknown = sorted(set(reference.value) - set(index.fields) - {"class"})
        if unknown:
            known = ", ".join(["class", *index.fields])
            raise WorkflowError(
                "bad-query",
                _("%(name)s has no field %(unknown)s, only %(known)s")
                % {"name": index.name, "unknown": f"{unknown[0]!r:.80}", "known": known},
                422,
            )
    found = matching(reference, index).count()
    if reference.kind == "samples" and found < len(reference.value):
        raise WorkflowError(
            "no-match",
            _("%(missing)s of the %(named)s samples named are not in the index of %(name)s: check their ids")
            % {"missing": len(reference.value) - found, "named": len(reference.value), "name": index.name},
            422,
        )
    if reference.classes is not None:
        held = set(index.rows.filter(label__in=reference.classes).values_list("label", flat=True).distinct())
        for label in sorted(reference.classes - held):
            raise WorkflowError(
                "no-match",
                _("no sample of %(name)s has class %(label)s") % {"name": index.name, "label": label},
                422,
            )
    if not found:
        raise WorkflowError(
            "no-match",
            _("no sample of %(name)s matches the %(kind)s") % {"name": index.name, "kind": reference.kind},
            422,
        )
    if found == index.samples:
        raise WorkflowError(
            "matches-everything",
            _("all %(found)s samples of %(name)s match: nothing would be left of it")
            % {"found": found, "name": index.name},
            422,
        )
    return found


def _has(name: str, value: Any) -> Q:
    """A field's value; numbers in CSV files are text, so both spellings count."""
    spellings = [value]
    if type(value) is int:
        spellings.append(str(value))
    elif isinstance(value, str) and value.isascii() and value.isdigit() and str(int(value)) == value:
        spellings.append(int(value))
    if name == "class":
        return Q(label__in=[spelling for spelling in spellings if type(spelling) is int])
    found = Q()
    for spelling in spellings:
        found |= Q(fields__contains={name: spelling})
    return found


def _class(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise _bad(_("a class is a number from 0, got %(value)s") % {"value": f"{value!r:.80}"})
    return value


def _classes(value: Any) -> list[int]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_CLASSES:
        raise _bad(_("classes are a list of 1 to %(max_classes)s numbers") % {"max_classes": MAX_CLASSES})
    return sorted({_class(each) for each in value})


def _samples(value: Any) -> list[str]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_SAMPLES:
        raise _bad(_("samples are a list of 1 to %(max_samples)s ids") % {"max_samples": MAX_SAMPLES})
    names = [str(each) if type(each) is int else each for each in value]
    if not all(map(_is_name, names)):
        raise _bad(_("a sample's id is text of 1 to 200 characters, or a number"))
    return sorted(set(names))


def _query(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not 0 < len(value) <= MAX_FIELDS:
        raise _bad(
            _("a query is an object of 1 to %(max_fields)s fields and their values") % {"max_fields": MAX_FIELDS}
        )
    for name, wanted in value.items():
        if not _is_name(name) or not (_is_name(wanted) or isinstance(wanted, int)):
            raise _bad(
                _("the field %(name)s is compared with text, a whole number, true or false")
                % {"name": f"{name!r:.80}"}
            )
    return dict(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


_PARSERS: Final = {"class": _class, "classes": _classes, "samples": _samples, "query": _query}


def _bad(got: str) -> WorkflowError:
    return WorkflowError("bad-forget", _("%(got)s; forget is %(forms)s") % {"got": got, "forms": _FORMS}, 422)


def _indexed() -> str:
    names = DatasetIndex.objects.filter(current=True).values_list("name", flat=True)
    return ", ".join(names) or _("no data sets")
