"""The bounty winner's kind of recognizer, for comparison: MFCC and logistic regression under FHE.

Our own writing of the approach of iamayushanand/Concrete_Shazam (zama-ai/bounty-program #79): the
MFCCs of each half second are summed up, a multi-class logistic regression (Concrete ML, 8 bits)
names a song for each, and the windows of a clip vote. The server computes one encrypted score for
each song and window; the vote is the client's. What the winner left open is set here: features are
standardised, and the winner's share of the votes tells unknown songs.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from functools import lru_cache, partial
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from sklearn.exceptions import ConvergenceWarning
from torchaudio.transforms import MFCC

from ...fhe.costs import QueryCosts, measure_query, median_costs
from ...support.timing import timed
from ..arrays import Floats, Ints

WINDOW_SECONDS = 0.5
COEFFICIENTS = 20
MEL_BANDS = 128
FFT_SECONDS, HOP_SECONDS = 2048 / 22050, 512 / 22050
"""Of the spectra within a window, as in librosa, which the winner used."""
TIE_BREAK = 0.01
"""What a probability of one is worth beside a vote."""
CLIPS_AT_ONCE = 256
"""Bounds the memory that judging in the clear takes."""


@lru_cache(maxsize=4)
def _transform(sample_rate: int) -> MFCC:
    spectrum = {
        "n_fft": next_fast_len(round(FFT_SECONDS * sample_rate), real=True),
        "hop_length": round(HOP_SECONDS * sample_rate),
        "n_mels": MEL_BANDS,
    }
    return MFCC(sample_rate, COEFFICIENTS, melkwargs=spectrum)


def mfcc_windows(wave: Floats, sample_rate: int) -> NDArray[np.float32]:
    """The features of a clip or track.

    Args:
        wave: mono samples, float [n].
        sample_rate: in Hz.

    Returns:
        MFCCs averaged over each half second, of which window i covers 0.5 i to 0.5 (i + 1) s:
        float32 [windows, 20]. What is left at the end is dropped; none of a clip under 0.5 s.
    """
    length = round(WINDOW_SECONDS * sample_rate)
    windows = len(wave) // length
    if windows == 0:
        return np.zeros((0, COEFFICIENTS), np.float32)
    whole = np.ascontiguousarray(wave[: windows * length], np.float32)
    # the channel dimension makes the transform clip levels for each window by itself
    parts = torch.from_numpy(whole).reshape(windows, 1, length)
    means: NDArray[np.float32] = _transform(sample_rate)(parts).mean(-1)[:, 0].numpy()
    return means


@contextmanager
def _torch_threads_kept() -> Iterator[None]:
    """Undo what Concrete ML's converter (Hummingbird) does: torch on all cores for the process.

    Training that follows would give other weights than in a process of its own.
    """
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class EncryptedVotes:
    """What clips gave in real FHE.

    Attributes:
        top, score: as `MfccVote.judge` returns them.
        costs: of a clip with all its windows, the medians.
        key_seconds: of making the keys.
        evaluation_key_bytes: of the keys that the server needs.
    """

    top: Ints
    score: Floats
    costs: QueryCosts
    key_seconds: float
    evaluation_key_bytes: int


class MfccVote:
    """Names a song for every half second and lets them vote.

    Args:
        max_iter: steps of the optimiser (L-BFGS).
        tol: largest gradient at which it stops earlier.
        inverse_penalty: the larger, the weaker the L2 regularisation; scikit-learn's ``C``.
    """

    def __init__(self, *, max_iter: int = 50, tol: float = 1e-4, inverse_penalty: float = 10.0):
        # imported when needed: the features alone are taken in many short-lived processes
        from concrete.ml.sklearn import LogisticRegression

        self.model = LogisticRegression(n_bits=8, max_iter=max_iter, tol=tol, C=inverse_penalty)

    def fit(self, features: Floats, labels: Ints) -> "MfccVote":
        """Learn songs.

        Args:
            features: float [rows, 20], from `mfcc_windows`.
            labels: class numbers, int [rows]; need not be contiguous.

        Raises:
            ValueError: fewer than three songs.
        """
        songs = len(np.unique(labels))
        if songs < 3:
            raise ValueError(f"songs={songs}: expected labels of three songs or more.")
        self._mean = features.mean(0, dtype=np.float64)
        self._deviation = features.std(0, dtype=np.float64) + 1e-6
        with _torch_threads_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Concrete ML names an argument that scikit-learn wants left out
            warnings.simplefilter("ignore", FutureWarning)
            self.model.fit(self._standardise(features), labels)
        return self

    def judge(self, clips: Sequence[Floats]) -> tuple[Ints, Floats]:
        """Name clips in the clear, by the quantized model.

        Args:
            clips: of each the features, float [windows, 20]; at least one window.

        Returns:
            The three songs with most votes (between equals, and without any, the more probable
            ones), int [clips, 3]; and the first one's share of the votes, plus less than a vote
            for its probability, float [clips].

        Raises:
            ValueError: a clip without windows.
        """
        _check_windows(clips)
        tops, scores = [np.zeros((0, 3), int)], [np.zeros(0)]
        for start in range(0, len(clips), CLIPS_AT_ONCE):
            part = clips[start : start + CLIPS_AT_ONCE]
            ends = np.cumsum([len(clip) for clip in part])[:-1]
            probabilities = self.model.predict_proba(self._standardise(np.concatenate(part)))
            top, score = self._vote(np.split(probabilities, ends))
            tops.append(top)
            scores.append(score)
        return np.concatenate(tops), np.concatenate(scores)

    def compile(self, features: Floats) -> None:
        """Compile the model to FHE.

        Args:
            features: a sample that shows the ranges of values, float [rows, 20].
        """
        with _torch_threads_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.compile(self._standardise(features))

    def judge_encrypted(self, clips: Sequence[Floats]) -> EncryptedVotes:
        """Name clips as `judge` does, every window in real FHE between a client and a server.

        Windows are encrypted and computed one by one, as the winner does it.

        Args:
            clips: of each the features, float [windows, 20]; at least one clip and window.

        Raises:
            ValueError: no clips, or one without windows.
            RuntimeError: not compiled.
        """
        from concrete.ml.deployment import FHEModelClient, FHEModelDev, FHEModelServer

        _check_windows(clips)
        if not len(clips):
            raise ValueError("clips=0: expected at least one.")
        if not self.model.is_compiled:
            raise RuntimeError("The model is not compiled: call compile(features) first.")
        with TemporaryDirectory() as folder:
            FHEModelDev(folder, self.model).save()
            client, server = FHEModelClient(folder), FHEModelServer(folder)
        key_seconds = timed(lambda: client.generate_private_and_evaluation_keys(force=True))[1]
        keys = client.get_serialized_evaluation_keys()
        probabilities, costs = [], []  # a clip each
        for clip in clips:
            windows = [
                measure_query(
                    partial(client.quantize_encrypt_serialize, row),
                    lambda query: server.run(query, keys),
                    client.deserialize_decrypt_dequantize,
                )
                for row in self._standardise(clip)[:, None]
            ]
            probabilities.append(np.concatenate([answer for answer, _ in windows]))
            costs.append(QueryCosts(*np.sum([astuple(one) for _, one in windows], axis=0)))
        return EncryptedVotes(
            *self._vote(probabilities), median_costs(costs), key_seconds, len(keys)
        )

    def _standardise(self, features: Floats) -> NDArray[np.float32]:
        standard: NDArray[np.float32] = ((features - self._mean) / self._deviation).astype(
            np.float32
        )
        return standard

    def _vote(self, probabilities: Sequence[Floats]) -> tuple[Ints, Floats]:
        """Top and score of clips, from each one's probabilities [windows, songs]."""
        tops, scores = [], []
        for windows in probabilities:
            votes = np.bincount(windows.argmax(1), minlength=windows.shape[1])
            standing = votes + TIE_BREAK * windows.mean(0)
            best = np.argsort(-standing, kind="stable")[:3]
            tops.append(self.model.classes_[best])
            scores.append(standing[best[0]] / len(windows))
        return np.array(tops), np.array(scores)


def _check_windows(clips: Sequence[Floats]) -> None:
    for number, clip in enumerate(clips):
        if not len(clip):
            raise ValueError(f"clip {number}: windows=0. Expected clips of {WINDOW_SECONDS} s.")
