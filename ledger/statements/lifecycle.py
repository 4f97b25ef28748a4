"""The states of a deletion request (Data Rights Protocol 1.0), what may follow what, and the codes of reasons.

Workflow and rules of the log share these tables. Reasons are codes, because they stand in a log from which no
sentence about a person could be removed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

OPEN, IN_PROGRESS, FULFILLED = "open", "in_progress", "fulfilled"
DENIED, EXPIRED, REVOKED = "denied", "expired", "revoked"

#: From each state to those that may follow it.
TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    OPEN: frozenset({IN_PROGRESS, DENIED, EXPIRED, REVOKED}),
    IN_PROGRESS: frozenset({FULFILLED, REVOKED}),
    FULFILLED: frozenset(),
    DENIED: frozenset(),
    EXPIRED: frozenset(),
    REVOKED: frozenset(),
}
OVER: Final = frozenset(state for state, following in TRANSITIONS.items() if not following)
LIVE: Final = frozenset(TRANSITIONS) - OVER


class Reason(NamedTuple):
    """What a code means, and what the Data Rights Protocol calls it, where it does."""

    meaning: str
    drp: str = ""


APPROVAL: Final = {
    "identity-verified": Reason("the person was identified"),
    "agent-verified": Reason("an agent acts for the person, and both were identified"),
    "no-check-needed": Reason("nothing depends on who asked"),
}
DENIAL: Final = {
    "identity-not-verified": Reason("the person could not be identified", "insuf_verification"),
    "suspected-fraud": Reason("the request seems to be fraudulent", "suspected_fraud"),
    "no-match": Reason("no data of this person is held", "no_match"),
    "claim-not-covered": Reason("the law does not give this right here", "claim_not_covered"),
    "outside-jurisdiction": Reason("the law does not apply to this person", "outside_jurisdiction"),
    "too-many-requests": Reason("manifestly excessive, in particular by repetition", "too_many_requests"),
    "duplicate": Reason("the same was asked for before and is under way", "other"),
    "legal-obligation": Reason("the law obliges the provider to keep the data", "other"),
    "legal-claims": Reason("the data is needed for legal claims", "other"),
    "officer": Reason("denied on the officers' pages of a version that asked for no reason", "other"),
    "other": Reason("another reason, told to the person", "other"),
}
EXTENSION: Final = {
    "complexity": Reason("the request is complex"),
    "number-of-requests": Reason("many requests came in"),
    "complexity-and-number": Reason("both"),
    "necessary": Reason("reasonably necessary (CCPA)"),
}
HOLD: Final = {
    "litigation": Reason("a lawsuit is pending or expected"),
    "authority-order": Reason("a court or authority has ordered it"),
    "retention-duty": Reason("the law demands that the data be kept for now"),
    "investigation": Reason("an investigation is under way"),
}
LIFT: Final = {
    "hold-ended": Reason("what the hold was set for is over"),
    "released-by-authority": Reason("court or authority has released it"),
    "set-by-mistake": Reason("the hold was a mistake"),
}
REVOCATION: Final = {
    "subject-withdrew": Reason("the person has withdrawn the request"),
    "filed-by-mistake": Reason("nobody asked for this"),
}
EXPIRY: Final = {"identity-not-verified": Reason("the person was not identified in time", "insuf_verification")}
#: Why a second request about the same may be filed.
DUPLICATE: Final = {
    "asked-again": Reason("the person asks again on purpose"),
    "new-data": Reason("data came in after the first request"),
    "other-regulation": Reason("the same is asked for under another law"),
}
#: How a person was identified.
METHODS: Final = {
    "account-login": "logged in to an account that the provider knows",
    "email-link": "answered through an address on file",
    "phone": "answered through a telephone number on file",
    "id-document": "showed an identity document",
    "knowledge": "knew facts on file",
    "in-person": "came in person",
    "authorised-agent": "an agent showed a signed permission",
    "other": "another method, described in the sealed detail",
}

#: Why somebody is shown who asked.
ACCESS: Final = {
    "identity-check": Reason("to check who asks"),
    "contact": Reason("to write to the person or call"),
    "records-search": Reason("to find the person's data"),
    "dispute": Reason("the person, an authority or a court asks about the request"),
    "audit": Reason("an auditor checks how the request was handled"),
    "fault": Reason("something about the request went wrong"),
}

#: All registers of codes, by what they are reasons for.
REASONS: Final[dict[str, dict[str, Reason]]] = {
    "approval": APPROVAL, "denial": DENIAL, "extension": EXTENSION, "hold": HOLD, "lift": LIFT,
    "revocation": REVOCATION, "expiry": EXPIRY, "duplicate": DUPLICATE,
    "access": ACCESS,
}  # fmt: skip


def may_follow(state: str, wanted: str) -> bool:
    """Whether a request in `state` may become `wanted`."""
    return wanted in TRANSITIONS[state]
