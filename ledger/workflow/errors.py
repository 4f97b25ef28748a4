"""What the workflow raises when something is not allowed."""

from __future__ import annotations


class WorkflowError(Exception):
    """A refusal: a stable `code` for programs, one `sentence` for people, and an HTTP `status`."""

    def __init__(self, code: str, sentence: str, status: int = 409) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.status = status
