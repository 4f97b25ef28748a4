"""One deletion request from filing to certificate, with something going wrong at each step."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from tests.faults.house import House
from tests.stories.client import Client
from tests.stories.nursery import Process, await_that
from tests.stories.provider import Officer
from tests.stories.proxy import Answer, Request

#: In the order in which they come.
STEPS: Final = (
    "committing",  # the client's statement is on its way
    "committed",  # it is logged, and the client has not heard of it
    "filed",  # a request is filed
    "closed",  # the window is closed, its mask job waits
    "masking",  # a worker computes the mask
    "claiming",  # the client's claim is on its way
    "claimed",  # it is logged, and the client has not heard of it
    "challenging",  # the log fixes the challenge
    "uploading",  # the proof is on its way
    "proving",  # so is the statement about it
    "proved",  # which is logged, and the client has not heard of it
    "verifying",  # a worker verifies the proof
    "settled",  # the verdict is there
    "certified",
)
_SAYING: Final = {"model-commitment": "committing", "claim": "claiming", "proof": "proving"}
_SAID: Final = {"model-commitment": "committed", "claim": "claimed", "proof": "proved"}
_JOBS: Final = {"masking": "mask", "challenging": "challenge", "verifying": "verify"}
Action = Callable[["Walk"], None]


class Walk:
    """`at`: what goes wrong, by step. Every step that is named must come, or the walk fails."""

    def __init__(self, house: House, officer: Officer, client: Client, model: str, at: dict[str, Action]) -> None:
        assert set(at) <= set(STEPS), sorted(set(at) - set(STEPS))
        self.house, self.officer, self.client, self.model = house, officer, client, model
        self.at, self.came = at, list[str]()
        self.agent: Process | None = None
        self._claimed = False
        self._over = threading.Event()
        self._lock = threading.Lock()

    def go(self) -> Any:
        """The window as the officer sees it in the end, after the reckoning."""
        self.house.proxy.before, self.house.proxy.after = self._before, self._after
        self._jobs = {kind: self.house.begun(kind) for kind in _JOBS.values()}
        looking = threading.Thread(target=self._look_at_jobs, daemon=True)
        looking.start()
        try:
            window = self._tell()
        finally:
            self._over.set()
            looking.join(10)
            self.house.proxy.before, self.house.proxy.after = lambda _request: None, self.house.note
            if self.agent is not None:
                self.agent.kill()
        missed = [step for step in self.at if step not in self.came]
        assert not missed, f"nothing went wrong at {missed}: only at {self.came}"
        self.house.fsck()
        assert self.house.lost() == []
        return window

    def _tell(self) -> Any:
        self._persist(*self.client.invited(self.officer, f"Clinic {self.model[:8]}", self.house.proxy.address))
        self._persist(*self.client.committing)
        request = self.officer.file_request()
        self.house.requests.append(request)
        self._reach("filed")
        self.officer.approve(request)
        window = self.officer.post("windows", model=self.model, requests=[request])["uuid"]
        self.officer.post(f"windows/{window}/close")
        self._reach("closed")
        self._await_window(window, "masked", "settled")
        self._watch()
        self._await_window(window, "settled")
        self._reach("settled")
        self.officer.post(f"windows/{window}/certify")
        self._reach("certified")
        shown = self.officer.get(f"windows/{window}")
        assert [(order["state"], order["attempt"]) for order in shown["orders"]] == [("met", 1)], shown
        # A request concerns all models of its data set that are in use: those of walks that failed may be left.
        others = [one for one in self.officer.get("models?retired=false")["items"] if one["uuid"] != self.model]
        expected = "in_progress" if others else "fulfilled"
        assert self.officer.get(f"requests/{request}")["state"] == expected
        self.officer.post(f"models/{self.model}/retire", reason="withdrawn")
        return shown

    def _persist(self, *command: Any) -> None:
        """The same command until it works: power fails, people try again."""
        for _ in range(10):
            process = self.agent = self.client.start(*command)
            if process.wait(180) == 0:
                return
            time.sleep(1)
        raise AssertionError(process.text[-3000:])

    def _watch(self) -> None:
        """An agent that watches, started again whenever it was killed."""

        def run() -> None:
            while not self._over.is_set():
                self.agent = self.client.start("watch")
                while not self.agent.ended and not self._over.is_set():
                    time.sleep(0.1)

        threading.Thread(target=run, daemon=True).start()

    def _await_window(self, window: str, *states: str) -> None:
        def arrived() -> bool:
            shown = self.officer.get(f"windows/{window}")
            failed = [job for job in shown["jobs"] if job["state"] == "failed"]
            assert not failed, failed
            return shown["state"] in states

        def complaint() -> str:
            agent = self.agent.text[-2000:] if self.agent else ""
            return f"{self.officer.get(f'windows/{window}')}\nsteps: {self.came}\n{agent}"

        await_that(arrived, 240.0, complaint)

    def _reach(self, step: str) -> bool:
        """Do what goes wrong here, once."""
        with self._lock:
            first = step not in self.came and step in self.at
            if first:
                self.came.append(step)
        if first:
            self.at[step](self)
        return first

    def _look_at_jobs(self) -> None:
        """A job that was over before anybody looked counts too: what goes wrong then comes a moment later."""
        while not self._over.wait(0.01):
            for step, kind in _JOBS.items():
                if step in self.at and step not in self.came and self.house.begun(kind) > self._jobs[kind]:
                    self._reach(step)

    def _before(self, request: Request) -> Answer | None:
        said = _said(request)
        if said in _SAYING:
            self._reach(_SAYING[said])
        if request.uploads and self._claimed:
            self._reach("uploading")
        return None

    def _after(self, request: Request, answer: Answer) -> Answer:
        """After the server's word, and before the client hears of it; where something went wrong it never does."""
        self.house.note(request, answer)
        said = _said(request)
        if said not in _SAID or answer.status not in {200, 201}:
            return answer
        unheard = self._reach(_SAID[said])
        self._claimed = self._claimed or said == "claim"
        return Answer(502, b"") if unheard else answer


def _said(request: Request) -> str:
    """The kind of statement in a request, or nothing."""
    if not request.states:
        return ""
    statement = json.loads(base64.b64decode(json.loads(request.body)["payload"]))
    return str(statement["predicateType"].split(":")[-2])
