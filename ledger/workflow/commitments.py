"""Com(θp) and Com(Cp): what a client is held to when masks come."""

from __future__ import annotations

from ledger import log
from ledger.models import CircuitRelease, ClientModel, GlobalModel, Order, Window
from ledger.statements.predicates import ModelCommitment
from ledger.statements.predicates.circuit_release import CircuitParameters
from ledger.workflow import points
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import Accepted, Submission, exclusive, open_submission, replayed


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
    _refuse_while_ordered(submission, model)
    _check_points(submission, model, CircuitParameters.model_validate(circuit.parameters))
    accepted = submission.append()
    client.models.filter(model=model, state=ClientModel.State.CURRENT).update(state=ClientModel.State.SUPERSEDED)
    ClientModel.objects.create(
        client=client,
        model=model,
        circuit=circuit,
        entry=accepted.entry,
        chunks=said.chunks,
        weights_sha256=said.weights_sha256,
        curvature_sha256=said.curvature_sha256,
        other_tensors_sha256=said.other_tensors_sha256,
    )
    return accepted


def _refuse_while_ordered(submission: Submission[ModelCommitment], model: GlobalModel) -> None:
    orders = Order.objects.filter(client_model__client=submission.client, client_model__model=model)
    over = (Order.State.MET, Order.State.EXCEPTED)
    pending = orders.exclude(state__in=over).exclude(window__state=Window.State.CERTIFIED).first()
    if pending is not None:
        raise WorkflowError(
            "order-pending",
            f"order {pending.uuid} on the current commitment is {pending.state}: meet it first",
        )


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
