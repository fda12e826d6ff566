"""Client and server in one process: for trying an artifact out, and for the command line.

Only bytes pass between the two, exactly as over a network.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Literal

from hushtune.fhe.answer import Answer
from hushtune.fhe.artifact import Artifact
from hushtune.fhe.client import Client, Clip
from hushtune.fhe.costs import QueryCosts, measure_query
from hushtune.fhe.server import EvaluationKeys, Server
from hushtune.folders import data_folder
from hushtune.support.timing import timed

Mode = Literal["execute", "simulate", "clear"]
POLL_SECONDS = 0.2


class Recognizer:
    """Identifies clips with an artifact.

    Args:
        artifact: the artifact's folder. ``execute`` needs its client and server parts,
            ``simulate`` and ``clear`` the client and owner parts.
        mode: ``execute`` for real FHE; ``simulate`` for Concrete's simulation of it; ``clear`` for
            the quantized network without encryption.
        keys: key file of a circuit that needs evaluation keys, made where it does not exist; in
            the user's data folder where None.

    Raises:
        ArtifactError: missing, changed, or made with other versions.
        KeyFileError: the key file is damaged or of another artifact.
    """

    def __init__(
        self,
        artifact: str | PathLike[str],
        mode: Mode = "execute",
        keys: str | PathLike[str] | None = None,
    ):
        self.mode = mode
        self.client = Client(artifact)
        self.artifact = self.client.artifact
        self.key_seconds: float | None = None
        if mode == "execute":
            self._server = Server(artifact)
            self._keys = self._open_keys(
                Path(keys) if keys else key_file(data_folder(), self.artifact)
            )
        else:
            from hushtune.owner import owner_answer  # torch, which FHE does without

            self._answer = owner_answer(self.client, Artifact(Path(artifact), ("owner",)), mode)

    @property
    def expected_seconds(self) -> float:
        """What a query took the server on the machine that exported the artifact."""
        costs = self.artifact.manifest.costs
        return 0.0 if costs is None else costs.compute_seconds

    def identify(
        self, clip: Clip, *, top: int = 3, on_progress: Callable[[float], None] | None = None
    ) -> Answer:
        """Identify a clip.

        Args:
            clip: a file's path, or (samples [n] or [n, channels], sample rate in Hz).
            top: how many matches to give.
            on_progress: told now and then how many seconds the server has computed.

        Raises:
            AudioError: undecodable, shorter than 1 s, or silent.
        """
        features, heard = self.client.features(clip)
        if self.mode != "execute":
            answer, seconds = timed(lambda: self._answer(features, top, heard))
            return replace(answer, costs=QueryCosts(compute_seconds=seconds))
        answer, costs = measure_query(
            lambda: self.client.encrypt_features(features),
            lambda query: self._run(query, on_progress),
            lambda response: self.client.decrypt(response, top=top, heard=heard),
        )
        return replace(answer, costs=costs)

    def _run(self, query: bytes, on_progress: Callable[[float], None] | None) -> bytes:
        if on_progress is None:
            return self._server.run(query, self._keys)
        started = time.perf_counter()
        with ThreadPoolExecutor(1) as worker:
            running = worker.submit(self._server.run, query, self._keys)
            while wait([running], timeout=POLL_SECONDS).not_done:
                on_progress(time.perf_counter() - started)
            return running.result()

    def _open_keys(self, path: Path) -> EvaluationKeys | None:
        if self.client.fresh_keys:
            return None
        if path.exists():
            self.client.load_keys(path)
        else:
            _, self.key_seconds = timed(self.client.create_keys)
            self.client.save_keys(path)
        return self._server.load_keys(self.client.evaluation_keys())


def key_file(folder: Path, artifact: Artifact) -> Path:
    """Where an artifact's keys are kept in a data folder: one file an artifact."""
    return folder / "keys" / f"{artifact.id.hex()[:16]}.keys"
