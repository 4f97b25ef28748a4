"""circuit-release: the circuits, keys and SRS that proofs are made and checked under."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from ledger.statements.predicates.base import Part, Predicate, Sha256

#: The files of a release. Circuits are not among them: whoever proves builds them from `parameters`.
ROLES: Final = ("relation_settings", "relation_vk", "range_settings", "range_vk", "srs")


class CircuitParameters(Part):
    """Public constants of the relation; docs/protocol.md says what each one does."""

    logrows: int = Field(ge=8, le=24)
    columns: int = Field(ge=1, le=16)
    blocks: int = Field(ge=1, description="blocks per chunk")
    block_size: int = Field(ge=2, description="B, weights per block")
    rank: int = Field(ge=1, description="r, rows of a block's curvature factor")
    damping: int = Field(ge=1, description="d, in squared units of the integer factor")
    factor_limit: int = Field(ge=1, description="largest magnitude an honest factor entry has")
    grid_bits: int = Field(ge=1, le=24, description="s: a weight is an integer times 2^-s")
    salt_rows: int = Field(ge=2, description="random field elements that end every private vector")
    range_group: int = Field(ge=1, description="chunks that share one range proof")
    directions: int = Field(
        default=0,
        ge=0,
        le=16,
        exclude_if=lambda count: count == 0,
        description="q, a block's public forget directions",
    )
    table_columns: int | None = Field(
        default=None,
        ge=1,
        le=16,
        exclude_if=lambda count: count is None,
        description="columns of the range circuit's table; without it, as many as the relation has",
    )
    noise_rows: int = Field(
        default=0,
        ge=0,
        exclude_if=lambda count: count == 0,
        description="random digits per chunk, looked up too: they hide how often each of the others occurs",
    )
    form: int = Field(
        default=1,
        ge=1,
        le=2,
        exclude_if=lambda form: form == 1,
        description="2: one scalar over the columns J and Z; 1: two scalars over K and the digits, no longer made",
    )

    @property
    def multipliers(self) -> int:
        """Rows of a block with a multiplier and a residual each: r of the client's and q public ones."""
        return self.rank + self.directions


class Circuit(Part):
    """Digests of one circuit's settings and verifying key, and the blinding rows its commitments carry."""

    settings_sha256: Sha256
    vk_sha256: Sha256
    blinding_rows: int = Field(ge=0)


class Srs(Part):
    """Structured reference string: `development` means that whoever made it could forge proofs."""

    sha256: Sha256
    provenance: Literal["ceremony", "development"]


class Code(Part):
    """What made the verifying keys. They follow from parameters and SRS, so other code can be held against them."""

    circuits_sha256: Sha256 = Field(description="of the module that writes the circuits as ONNX")
    engine_sha256: Sha256 = Field(description="of the engine's library, where the release was built")


class CircuitRelease(Predicate):
    """Signed by the provider, logged before anything is committed or proved under it."""

    slug: ClassVar[str] = "circuit-release"

    parameters: CircuitParameters
    digit_base: int = Field(ge=2, description="T: digits lie in [-T, tableEnd], v = lo + T*hi")
    table_end: int = Field(ge=1, description="real upper end of the lookup table")
    relation: Circuit
    range: Circuit
    srs: Srs
    engine: str = Field(min_length=1, max_length=100)
    code: Code | None = Field(default=None, exclude_if=lambda code: code is None)

    def file_digests(self) -> dict[str, str]:
        """SHA-256 of every file of the release, by role (see ROLES)."""
        digests = {"srs": self.srs.sha256}
        for name, circuit in (("relation", self.relation), ("range", self.range)):
            digests[f"{name}_settings"] = circuit.settings_sha256
            digests[f"{name}_vk"] = circuit.vk_sha256
        return digests
