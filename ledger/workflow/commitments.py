"""Com(θp) and Com(Cp): what a client is held to when masks come."""

from __future__ import annotations

from ledger import log
from ledger.models import CircuitRelease, ClientModel, GlobalModel
from ledger.statements.predicates import ClientModelRetirement, ModelCommitment
from ledger.statements.predicates.circuit_release import CircuitParameters
from ledger.workflow import events, points
from ledger.workflow.actors import client_actor
from ledger.workflow.continuations import begin, continued
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import Accepted, Submission, exclusive, open_submission, replayed
from ledger.workflow.unsettled import refuse_while_ordered


@exclusive
def accept_commitment(body: bytes) -> Accepted:
    """Log a client's model-commitment (a DSSE envelope); it replaces the client's current one for that model.

    Refused while an order on the current one is unsettled: the new weights would escape its mask. Raises
    WorkflowError for everything that does not fit: signature, references, uploads, sizes, roots.
    """
    submission = open_submission(body, ModelCommitment)
    return replayed(submission.envelope) or _accept(submission)


def _accept(submission: Submission[ModelCommitment]) -> Accepted:
    client, said = submission.client, submission.predicate
    model = GlobalModel.objects.filter(entry=log.resolve(said.model)).first()
    circuit = CircuitRelease.objects.filter(entry=log.resolve(said.circuit)).first()
    if model is None or circuit is None:
        what, ref = ("model", said.model) if model is None else ("circuit", said.circuit)
        raise WorkflowError(
            "wrong-reference",
            f"log entry {ref.index} is no {what} release with that leaf hash: GET /releases",
            422,
        )
    if model.retired_entry_id is not None:
        raise WorkflowError(
            "model-retired", f"the model of log entry {model.entry_id} was retired: it is out of use"
        )
    if client.models.filter(model=model, state=ClientModel.State.RETIRED).exists():
        raise WorkflowError("model-retired", "this client has retired its copy of that model: it stays retired")
    continues = continued(client, model, said)
    refuse_while_ordered(client, model, "it is about the current commitment; meet it first")
    _check_points(submission, model, CircuitParameters.model_validate(circuit.parameters))
    accepted = submission.append()
    client.models.filter(model=model, state=ClientModel.State.CURRENT).update(state=ClientModel.State.SUPERSEDED)
    held = ClientModel.objects.create(
        client=client,
        model=model,
        circuit=circuit,
        entry=accepted.entry,
        chunks=said.chunks,
        weights_sha256=said.weights_sha256,
        curvature_sha256=said.curvature_sha256,
        other_tensors_sha256=said.other_tensors_sha256,
        continues=continues,
    )
    begin(held)
    events.record(
        "client.committed", actor=client_actor(client), client=client.uuid, model=model.uuid, entry=accepted.entry
    )
    return accepted


@exclusive
def accept_model_retirement(body: bytes) -> Accepted:
    """Log that a client has put its copy of a model out of use: no orders follow, and no commitments.

    Raises WorkflowError: not its last commitment on that model (422), an order that binds it still, or retired
    before (409).
    """
    submission = open_submission(body, ClientModelRetirement)
    return replayed(submission.envelope) or _retire(submission)


def _retire(submission: Submission[ClientModelRetirement]) -> Accepted:
    client, said = submission.client, submission.predicate
    held = client.models.filter(model__entry=log.resolve(said.model)).order_by("-entry").first()
    if held is None or said.commitment != log.entry_ref(held.entry):
        wanted = "none there" if held is None else f"entry {held.entry_id} as its last commitment there"
        raise WorkflowError(
            "wrong-reference",
            f"the statement retires the commitment of log entry {said.commitment.index} on the model of entry "
            f"{said.model.index}; client {client.uuid} has {wanted}",
            422,
        )
    if held.state == ClientModel.State.RETIRED:
        raise WorkflowError("model-retired", "this client has retired its copy of that model before")
    refuse_while_ordered(client, held.model, "a model is retired when none of its orders is open")
    accepted = submission.append()
    held.state = ClientModel.State.RETIRED
    held.save()
    events.record(
        "client.model-retired",
        actor=client_actor(client), client=client.uuid, model=held.model_id, entry=accepted.entry,
    )  # fmt: skip
    return accepted


def _check_points(
    submission: Submission[ModelCommitment], model: GlobalModel, parameters: CircuitParameters
) -> None:
    client, said = submission.client, submission.predicate
    chunks = points.chunk_count(parameters, model.total_weights)
    if said.chunks != chunks:
        raise WorkflowError(
            "wrong-chunks",
            f"got {said.chunks} chunks, expected {chunks} for {model.total_weights} weights",
            422,
        )
    exactly = range(chunks, chunks + 1)
    points.check_file(
        client,
        "weights",
        said.weights_sha256,
        said.weights_root,
        record=points.WEIGHTS_RECORD,
        records=exactly,
    )
    curvature = points.curvature_record(parameters)
    points.check_file(
        client, "curvature", said.curvature_sha256, said.curvature_root, record=curvature, records=exactly
    )
