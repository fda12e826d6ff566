"""The owner's part of an artifact: the network, to simulate it or to run it in the clear.

Neither of its files can hold code: tensors are stored as safetensors, arrays without pickle.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ...model.network import Network
from ...support.errors import ArtifactError
from ...support.files import save_array
from ..artifact import Artifact

NETWORK = "owner/network.safetensors"
CALIBRATION = "owner/calibration.npy"


def save_owner_part(folder: Path, network: Network, calibration: npt.NDArray[np.float32]) -> None:
    """Write the owner's part.

    Args:
        folder: of the artifact.
        network: quantized.
        calibration: features it was compiled with, float32 [clips, channels, bands, columns].
    """
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, folder / NETWORK)
    save_array(folder / CALIBRATION, calibration)


def load_network(artifact: Artifact) -> Network:
    """The quantized network in an artifact's owner part, ready to use.

    Raises:
        ArtifactError: the file cannot be read, or is of another network.
    """
    shape, settings = artifact.front_end().feature_shape, artifact.config.network
    network = Network(settings, shape, artifact.manifest.rows.to_rows().total + 1, quantized=True)
    try:
        network.load_state_dict(load_file(artifact.folder / NETWORK))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise _unreadable(artifact, NETWORK, error) from error
    return network.eval()


def load_calibration(artifact: Artifact) -> npt.NDArray[np.float32]:
    """The features that an artifact was compiled with: float32 [clips, channels, bands, columns].

    Raises:
        ArtifactError: the file cannot be read, or holds something else.
    """
    try:
        # mapped, so that a header that promises more than the file holds allocates nothing
        path = artifact.folder / CALIBRATION
        stored = np.lib.format.open_memmap(path, mode="r")  # type: ignore[no-untyped-call]
        if stored.dtype != np.float32 or stored.shape[1:] != artifact.front_end().feature_shape:
            raise ValueError(f"{stored.dtype} of shape {stored.shape}")
    except (OSError, ValueError) as error:
        raise _unreadable(artifact, CALIBRATION, error) from error
    return np.array(stored)


def _unreadable(artifact: Artifact, name: str, error: Exception) -> ArtifactError:
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return ArtifactError(
        f"{artifact.folder / name}: cannot be read ({first_line}). Export the artifact again."
    )
