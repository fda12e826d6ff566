"""The manifest: what an artifact is, typed; everything in it is under its id.

It comes from whoever made the artifact, by way of a service. So it is read within limits, unknown
fields are refused, and what a client encrypts with is written anew from it (`encryption`, by the
fixed list of parameters).
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, FailFast, Field, JsonValue, ValidationError, model_validator

from ..configs.schema import (
    FheSettings,
    ModulationSpectrum,
    NetworkSettings,
    Settings,
    SignalSettings,
    Spectrum,
)
from ..model.decision import Decisions
from ..model.rows import Rows
from ..support import strict_json
from ..support.errors import ArtifactError
from ..support.text import is_plain, plain
from .answer import Song
from .encryption import Encryption, Record
from .number import Number

FORMAT_VERSION = 6
LARGEST_BYTES = 16_000_000
"""Of the file; 100,000 songs take about as much."""
MOST_SONGS = 100_000
MOST_ROWS = 10_000
"""Of one song."""
MOST_LENGTHS = 16
"""Of clips that decisions are told for."""
FEATURES = 4
"""Of logits, that a decision weighs (see `hushtune.model.decision`)."""
MOST_BITS = 16
"""Of a quantized input value."""


def _plain(text: str) -> str:
    if not is_plain(text):
        raise ValueError("control characters are not allowed")
    return text


Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=1000), AfterValidator(_plain)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Bytes = Annotated[int, Field(strict=True, ge=0, le=1 << 40)]
Count = Annotated[int, Field(strict=True, ge=0)]


class ArtifactConfig(Settings):
    """The settings that travel in an artifact: no paths, nothing of the owner's machine."""

    signal: SignalSettings
    spectrum: Spectrum
    network: NetworkSettings
    fhe: FheSettings


class CircuitFacts(Record):
    """What the compiler made.

    Attributes:
        pbs: programmable bootstrappings a query.
        widest_bits: of any value in it.
        p_error: largest probability that a PBS errs.
        bootstrap_key_bytes: as Concrete counts them, likewise the next.
    """

    pbs: Count
    widest_bits: Count
    p_error: Annotated[float, Field(ge=0, le=1)]
    bootstrap_key_bytes: Bytes
    keyswitch_key_bytes: Bytes


class InputQuantizer(Record):
    """Real values to integers: ``rint(x / scale)``, clipped to so many signed bits."""

    scale: Annotated[float, Field(gt=0, le=1e6)]
    bits: Annotated[int, Field(strict=True, ge=1, le=MOST_BITS)]

    def quantize(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Integers of the values' shape."""
        limit = 1 << (self.bits - 1)
        return np.asarray(np.rint(values / self.scale).clip(-limit, limit - 1), np.int64)


class OutputQuantizer(Record):
    """Integers to real values: ``scale * q``."""

    scale: Annotated[float, Field(gt=0, le=1e6)]

    def dequantize(self, values: NDArray[np.int64]) -> NDArray[np.float64]:
        """Real values of the integers' shape."""
        return self.scale * values.astype(np.float64)


class ArtifactCosts(Record):
    """What a query cost when the artifact proved itself: medians of seconds, and bytes."""

    key_seconds: Seconds
    encrypt_seconds: Seconds
    compute_seconds: Seconds
    decrypt_seconds: Seconds
    evaluation_key_bytes: Bytes
    query_bytes: Bytes
    response_bytes: Bytes


class Agreement(Record):
    """How the answers to the check clips compare; numbers have no logits to compare."""

    clips: Count
    execute_differs: Count
    simulate_differs: Count
    largest_logit_difference: float | None
    right: Count


class SongRows(Record):
    """Which rows of the head belong to which song.

    Attributes:
        counts: rows of every song.
        seconds: of music that a row stands for; None where it stands for all of a song.
    """

    counts: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=1, le=MOST_ROWS)], ...],
        FailFast(),
        Field(min_length=1, max_length=MOST_SONGS),
    ]
    seconds: Annotated[float, Field(gt=0, le=86_400)] | None

    def to_rows(self) -> Rows:
        """The same for the model."""
        return Rows(self.counts, self.seconds)


class Manifest(Record):
    """What an artifact is.

    Attributes:
        format_version: of the artifact.
        name: of the configuration.
        created: when, ISO 8601.
        versions: of the packages it was made with.
        split_sha256: of the split into known and unknown songs.
        config: front end, network, FHE.
        circuit: what was compiled.
        encryption: keys, query and response.
        input_quantizer: of the features.
        output_quantizer: of the logits.
        rows: of the head, by song.
        decisions: when to answer "unknown", by the clip's length.
        number: how the circuit finds the song's number; None where it ends in the logits.
        costs: of a query; None until it was proved.
        accuracy: on test clips, by system ("float", "quantized"); None where not measured.
        agreement: with the network in the clear; None until it was proved.
        files: SHA-256 of every other file.
        catalogue: the songs, in the order of the classes.
    """

    format_version: int = FORMAT_VERSION
    name: Text
    created: Text
    versions: Annotated[dict[Text, Text], Field(max_length=20)]
    split_sha256: Digest
    config: ArtifactConfig
    circuit: CircuitFacts
    encryption: Encryption
    input_quantizer: InputQuantizer
    output_quantizer: OutputQuantizer
    rows: SongRows
    decisions: Decisions
    number: Number | None
    costs: ArtifactCosts | None = None
    accuracy: dict[Text, JsonValue] | None = None
    agreement: Agreement | None = None
    files: Annotated[dict[Text, Digest], Field(max_length=100)]
    catalogue: Annotated[tuple[Song, ...], FailFast(), Field(min_length=1, max_length=MOST_SONGS)]

    @model_validator(mode="after")
    def _check(self) -> "Manifest":
        if self.format_version != FORMAT_VERSION:
            raise ValueError(f"format_version={self.format_version}, expected {FORMAT_VERSION}")
        for name in self.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name or "\\" in name:
                raise ValueError(f"files: {name!r} is no file of an artifact")
        for song in self.catalogue:
            if not is_plain(song.id + song.title + song.artist + "".join(song.aliases)):
                raise ValueError("catalogue: control characters are not allowed")
        spectrum = self.config.spectrum
        if isinstance(spectrum, ModulationSpectrum) and any(
            distance >= self.config.signal.bands for distance in spectrum.distances
        ):
            raise ValueError("config.spectrum.distances: expected less than the number of bands")
        self._check_decisions()
        if self.accuracy is not None and not isinstance(self.accuracy.get("quantized"), dict):
            raise ValueError('accuracy: expected "quantized" among the systems')
        sent, received = self.encryption.input, self.encryption.output
        if not sent.signed or sent.width < self.input_quantizer.bits:
            raise ValueError(f"input_quantizer.bits={self.input_quantizer.bits} exceed the circuit")
        if len(self.rows.counts) != len(self.catalogue):
            raise ValueError(f"rows: of {len(self.rows.counts)} songs, not {len(self.catalogue)}")
        rows = sum(self.rows.counts)
        expected = rows + 1 if self.number is None else self.number.digits
        if received.size != expected:
            raise ValueError(f"{received.size} outputs, expected {expected}")
        if self.number is not None and not self.number.songs == len(self.catalogue) == rows:
            raise ValueError(f"number.songs={self.number.songs}, expected {len(self.catalogue)}")
        return self

    def _check_decisions(self) -> None:
        seconds, of = self.decisions.seconds, self.decisions.of
        if not 0 < len(of) == len(seconds) <= MOST_LENGTHS:
            raise ValueError(f"decisions: {len(of)} of them for {len(seconds)} lengths")
        if seconds[0] <= 0 or any(one >= two for one, two in pairwise(seconds)):
            raise ValueError("decisions.seconds: expected rising lengths")
        if any(len(one.weights) != FEATURES or one.temperature <= 0 for one in of):
            raise ValueError(f"decisions: expected {FEATURES} weights and a positive temperature")

    @property
    def id(self) -> str:
        """SHA-256 over everything in it, 64 hexadecimal digits."""
        return hashlib.sha256(_canonical(self.model_dump(mode="json"))).hexdigest()

    @property
    def unknown(self) -> int:
        """The class that stands for "unknown"."""
        return len(self.catalogue)

    def to_json(self) -> bytes:
        """The file ``manifest.json``."""
        data = {"id": self.id, **self.model_dump(mode="json")}
        return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def read(cls, data: bytes, source: str) -> "Manifest":
        """Read the file ``manifest.json``.

        Args:
            data: its bytes, from a stranger.
            source: what to call it in an error.

        Raises:
            ArtifactError: of another format, damaged, changed, or not to be trusted.
        """
        try:
            found = strict_json.loads(data, max_bytes=LARGEST_BYTES)
            if not isinstance(found, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise ArtifactError(
                f"{source}: damaged ({error}). Export the artifact again."
            ) from error
        version = found.get("format_version")
        if version != FORMAT_VERSION:
            versions = found.get("versions")
            made = versions.get("hushtune") if isinstance(versions, dict) else None
            raise ArtifactError(
                f"{source}: format_version={plain(repr(version))[:40]}, expected {FORMAT_VERSION}. "
                f"Use the Hushtune that made it ({plain(str(made or 'unknown'))[:40]}) or export "
                "again."
            )
        stated = found.pop("id", None)
        if unknown := set(found) - set(cls.model_fields):
            names = plain(", ".join(sorted(unknown)))[:200]
            raise ArtifactError(f"{source}: not a manifest of an artifact: unknown fields {names}.")
        try:
            manifest = cls.model_validate(found)
        except (ValidationError, ArithmeticError) as error:
            raise ArtifactError(
                f"{source}: not a manifest of an artifact: {_explained(error)}. Export the "
                "artifact again."
            ) from error
        if stated != manifest.id:
            raise ArtifactError(
                f"{source}: changed since export (its id does not match its content). Export the "
                "artifact again."
            )
        return manifest


def _canonical(data: Mapping[str, Any]) -> bytes:
    """The same bytes for the same content, before and after it was written as JSON."""
    return json.dumps(json.loads(json.dumps(data)), sort_keys=True).encode()


def _explained(error: Exception) -> str:
    """The first problem of a validation in a line."""
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, problem["loc"]))[:200]
    text = problem["msg"].removeprefix("Value error, ")[:500]
    return plain(f"{place}: {text}" if place else text)
