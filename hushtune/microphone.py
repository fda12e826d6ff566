"""Recording from the microphone."""

import numpy as np
from numpy.typing import NDArray

from hushtune.support.errors import AudioError

SAMPLE_RATE_HZ = 44100


def record(seconds: float, device: str | None = None) -> tuple[NDArray[np.float32], int]:
    """Record from a microphone.

    Args:
        seconds: how long.
        device: a part of its name, or its number; the system's own choice where None.

    Returns:
        Mono samples, float32 [n], and their sample rate in Hz.

    Raises:
        AudioError: no microphone, or no PortAudio library to reach it through.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise AudioError(
            f"The microphone cannot be used ({error}). Install the package 'sounddevice' and the "
            "PortAudio library (Debian: libportaudio2), or give a recorded file to 'hushtune "
            "identify'."
        ) from error
    chosen = int(device) if device is not None and device.isdigit() else device
    try:
        samples = sounddevice.rec(
            round(seconds * SAMPLE_RATE_HZ),
            samplerate=SAMPLE_RATE_HZ,
            channels=1,
            dtype="float32",
            device=chosen,
            blocking=True,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        there = [d["name"] for d in sounddevice.query_devices() if d["max_input_channels"] > 0]
        raise AudioError(
            f"microphone={device or 'default'}: cannot record ({error}). Microphones here: "
            f"{', '.join(there) or 'none'}."
        ) from error
    return samples[:, 0], SAMPLE_RATE_HZ
