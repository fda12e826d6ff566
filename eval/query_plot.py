"""Pictures of a query: what is heard, what is encrypted, what the server sees."""

from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray

from ..configs.schema import ModulationSpectrum, RawSamples
from ..model.features import FrontEnd, MelPower
from ..support.units import readable_bytes

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

CIPHERTEXT_WIDTH = 128


def draw_query(
    wave: NDArray[np.float32], front_end: FrontEnd, query: bytes, picture: Path, *, title: str
) -> None:
    """Draw a clip's mel spectrogram, the image made of it, and its encryption.

    Args:
        wave: mono samples, float32 [n].
        front_end: the artifact's.
        query: the encrypted query of the clip.
        picture: PNG to write.
        title: shown above.
    """
    signal = front_end.signal
    power = MelPower(signal)(wave)
    image = front_end.picture(wave)
    figure, (heard, sent, seen) = plt.subplots(
        1, 3, figsize=(13, 3.9), layout="constrained", width_ratios=(1.5, 1, 1)
    )
    figure.suptitle(title)
    level = 10 * np.log10(power + 1e-10)
    drawn = heard.imshow(
        level,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=level.max() - 70,
        extent=(0, len(wave) / signal.sample_rate_hz, 0, signal.bands),
    )
    heard.set(title="The clip: mel spectrogram", xlabel="time (s)", ylabel="mel band")
    figure.colorbar(drawn, ax=heard, label="power (dB)")
    columns, label, rows_label = image.shape[2], "frame", "mel band"
    extent: tuple[float, float, float, float] = (0, columns, 0, image.shape[1])
    if isinstance(front_end.spectrum, RawSamples):
        label, rows_label = "sample in block", "block"
    if isinstance(front_end.spectrum, ModulationSpectrum):
        label, step = "modulation rate (Hz)", 1 / front_end.spectrum.window_seconds
        extent = (0.5 * step, (columns + 0.5) * step, 0, signal.bands)
    drawn = sent.imshow(image[0], origin="lower", aspect="auto", cmap="gray", extent=extent)
    sent.set_facecolor("lightsteelblue")
    sent.set(title="What is encrypted (first channel)", xlabel=label, ylabel=rows_label)
    figure.colorbar(drawn, ax=sent, label="deviations from the mean")
    rows = min(CIPHERTEXT_WIDTH, len(query) // CIPHERTEXT_WIDTH)
    start = (len(query) - rows * CIPHERTEXT_WIDTH) // 2
    pixels = np.frombuffer(query, np.uint8, rows * CIPHERTEXT_WIDTH, start)
    drawn = seen.imshow(pixels.reshape(rows, -1), cmap="gray", aspect="auto", vmin=0, vmax=255)
    seen.set(
        title=f"What the server sees (of {readable_bytes(len(query))})",
        xlabel="byte in row",
        ylabel="row",
    )
    figure.colorbar(drawn, ax=seen, label="byte value")
    figure.savefig(picture, dpi=110)
    plt.close(figure)
