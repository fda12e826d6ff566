"""A drawing, in text, of what an artifact computes where."""

import math

from ..configs.schema import (
    DenseLayer,
    EmbeddingSpectrum,
    FilterBankLayer,
    MelSpectrum,
    PoolLayer,
    RawSamples,
)
from ..model.features import make_front_end
from ..model.network import shape_after
from ..support.units import readable_bytes
from .manifest import ArtifactConfig, Manifest

LEFT = 42
"""Width of the client's side."""


def draw_pipeline(manifest: Manifest) -> str:
    """Who computes what: the client in the clear, the server on ciphertext.

    Args:
        manifest: of an artifact.
    """
    config = manifest.config
    rows_of_head, costs = sum(manifest.rows.counts), manifest.costs
    number = manifest.number is not None
    rows = [("client, in the clear", "server, on ciphertext"), ("", "")]
    before = [("clip, 1 to 20 s", ""), *((f" | {step}", "") for step in _client_steps(config))]
    server = _server_steps(config, rows_of_head, number)
    after = [("title and artist, or unknown", "")]
    if not number:
        after.insert(0, (" | rank, open-set decision", ""))
    rows += before
    rows.append((_arrow("encrypt", costs.query_bytes if costs else None, ">"), server[0]))
    rows += [("", f" | {step}") for step in server[1:]]
    told = "digits of one number" if number else f"{rows_of_head + 1:,} logits"
    rows.append((_arrow("decrypt", costs.response_bytes if costs else None, "<"), told))
    rows += after
    return "\n".join(f"{left:<{LEFT}} {right}".rstrip() for left, right in rows)


def _arrow(word: str, count: int | None, head: str) -> str:
    size = "" if count is None else f" {readable_bytes(count)} "
    width = LEFT - len(word) - 2
    line = size.center(width, "-")
    return f"{word} {line}>" if head == ">" else f"{word} <{line}"


def _client_steps(config: ArtifactConfig) -> list[str]:
    front_end = make_front_end(config.signal, config.spectrum)
    channels, bands, columns = front_end.full_shape
    values = channels * bands * columns
    bits = config.network.input_bits
    if isinstance(config.spectrum, RawSamples):
        return [
            f"resample to {config.spectrum.rate_hz / 1000:g} kHz, unit power",
            f"{values:,} samples of {bits} bits",
        ]
    if isinstance(config.spectrum, EmbeddingSpectrum):
        name = "embedding of a trained encoder"
    elif isinstance(config.spectrum, MelSpectrum):
        name = "log-mel crop"
    else:
        name = "modulation spectrum"
    kept = min(values, config.network.inputs or values)
    some = f"{kept:,} of " if kept < values else ""
    return [
        f"resample to {config.signal.sample_rate_hz / 1000:g} kHz, mel power",
        f"{name}: {channels} x {bands} x {columns}",
        f"{some}{values:,} values of {bits} bits",
    ]


def _server_steps(config: ArtifactConfig, rows: int, number: bool) -> list[str]:
    """The layers, with the PBS each takes."""
    shape: tuple[int, ...] = make_front_end(config.signal, config.spectrum).full_shape
    steps = []
    for layer in config.network.layers:
        before, shape = shape, shape_after(layer, shape)
        if isinstance(layer, PoolLayer):
            steps.append(f"mean over {math.prod(before[1:])} positions")
            continue
        if isinstance(layer, FilterBankLayer):
            name = f"filter bank: {shape[0]} x {shape[1]} log magnitudes"
        elif isinstance(layer, DenseLayer):
            name = f"dense layer: {layer.units}"
        else:
            name = f"convolution: {' x '.join(map(str, shape))}"
        steps.append(f"{name} ({math.prod(shape):,} PBS)")
    steps.append(f"linear layer: {rows + 1:,} logits")
    if number:
        steps += ["level of each song, L1 norm of all", "tournament, decision, backtracking"]
    return steps
