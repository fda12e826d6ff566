"""The client part of an artifact, as a stranger sends it: checked before anything opens it.

Who chooses the encryption parameters could choose weak ones and read every query, and Concrete ML's
loader for quantizers can build arbitrary objects. So a client part from a service is taken only if
everything that will be encrypted is, at 128 bits of security, and if its quantizers are of the few
kinds that Hushtune's artifacts have.
"""

import hashlib
import io
import json
import math
import tempfile
import zipfile
from pathlib import Path

from hushtune.support.errors import ArtifactError

LARGEST_BYTES = 100_000_000
"""Of a client part, packed or unpacked: real ones take about 100 KB."""
SLOPE, BIAS, SMALLEST_DIMENSION = -0.026405028765226296, 2.482642269104389, 450
"""Least log2 of the noise's deviation at 128 bits, against the dimension of the binary key: from
Concrete's ``concrete-security-curves-rust/src/curves.gen.rs``, fitted to the lattice estimator."""
KINDS = {"UniformQuantizer", "numpy_array", "numpy_float", "numpy_integer"}
MODEL = {
    "__class__": "QuantizedModule",
    "__module__": "concrete.ml.quantization.quantized_module",
    "__loader__": "TypeNode",
}


def keep_part(data: bytes, digest: str, folder: Path, url: str) -> Path:
    """Check a client part and unpack it into the cache.

    Args:
        data: the zip as received.
        digest: the SHA-256 it must have.
        folder: of the cache; the part comes to lie in the folder named by its digest.
        url: of the service, for errors.

    Raises:
        ArtifactError: damaged, or not to be trusted.
    """
    if hashlib.sha256(data).hexdigest() != digest:
        raise ArtifactError(
            f"{url}: the client part it sent does not match its SHA-256. Try again; if it stays "
            "so, do not trust this service."
        )
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / digest
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        unpacked = Path(partial) / "part"
        try:
            unpack(data, unpacked)
            check_files(unpacked)
            check_client_zip(unpacked / "client" / "client.zip")
        except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{url}: its client part is not one ({error!r}).") from error
        except ArtifactError as error:
            raise ArtifactError(f"{url}: do not trust this service: {error}") from error
        try:
            unpacked.rename(target)
        except OSError:  # there meanwhile: another process was faster
            if not (target / "manifest.json").is_file():
                raise
    return target


def unpack(data: bytes, target: Path) -> None:
    """Unpack a zip into a folder, and nothing outside of it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
            raise ArtifactError(f"its client part unpacks to more than {LARGEST_BYTES:,} bytes.")
        for name in archive.namelist():
            if not (target / name).resolve().is_relative_to(target.resolve()):
                raise ArtifactError(f"its client part holds {name!r}, outside of it.")
        archive.extractall(target)


def check_files(folder: Path) -> None:
    """Refuse files that the manifest does not list, and with them the id does not cover.

    Raises:
        ArtifactError: naming them.
    """
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    listed = {"manifest.json", *manifest["files"]}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    if not there <= listed:
        raise ArtifactError(
            f"its client part holds {sorted(there - listed)}, which nothing covers."
        )


def check_client_zip(path: Path) -> None:
    """Check encryption parameters and quantizers.

    Raises:
        ArtifactError: naming what is weak or foreign.
        KeyError, TypeError, ValueError: not of the form Concrete writes.
    """
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        expected = {"client.specs.json", "serialized_processing.json", "versions.json"}
        if names != expected:
            raise ArtifactError(f"its client.zip holds {sorted(names ^ expected)}.")
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
            raise ArtifactError(f"its client.zip unpacks to more than {LARGEST_BYTES:,} bytes.")
        _check_parameters(json.loads(archive.read("client.specs.json")))
        _check_quantizers(json.loads(archive.read("serialized_processing.json")))


def _check_parameters(specs: dict) -> None:
    keyset = specs["keyset"]
    sizes = {}
    for key in keyset["lweSecretKeys"]:
        params = key["params"]
        if params["keyType"] != "binary" or params["integerPrecision"] != 64:
            raise ArtifactError("its keys are not of the kind whose security is known.")
        sizes[key["id"]] = params["lweDimension"]
    for circuit in specs["circuits"]:
        for value in [*circuit["inputs"], *circuit["outputs"]]:
            if set(value["typeInfo"]) != {"lweCiphertext"}:
                raise ArtifactError("it asks for values that are not encrypted.")
            used = value["typeInfo"]["lweCiphertext"]["encryption"]
            if used["lweDimension"] != sizes[used["keyId"]]:
                raise ArtifactError("its ciphertexts do not fit its keys.")
            _check_noise(used["lweDimension"], used["variance"])
    for key in keyset["lweKeyswitchKeys"]:
        _check_noise(sizes[key["outputId"]], key["params"]["variance"])
    for key in keyset["lweBootstrapKeys"]:
        params = key["params"]
        _check_noise(params["glweDimension"] * params["polynomialSize"], params["variance"])
        _check_noise(sizes[key["outputId"]], params["variance"])
    if keyset.get("packingKeyswitchKeys"):
        raise ArtifactError("it asks for packing keys, which no artifact of Hushtune needs.")


def _check_noise(dimension: int, variance: float) -> None:
    """Refuse less noise than 128 bits of security take under a key of this dimension."""
    least = max(SLOPE * dimension + BIAS, 2.0 - 64)
    if dimension < SMALLEST_DIMENSION or variance <= 0 or math.log2(variance) / 2 < least:
        raise ArtifactError(
            f"its encryption is weak (dimension {dimension}, variance {variance:.3g}): it could "
            "be broken, and the clip be read."
        )


def _check_quantizers(processing: dict) -> None:
    model = processing.pop("model_type")
    if model["type_name"] != "type":
        raise ArtifactError("its model is of an unknown kind.")
    with zipfile.ZipFile(io.BytesIO(bytes.fromhex(model["serialized_value"]))) as archive:
        schema = json.loads(archive.read("schema.json"))
        if archive.namelist() != ["schema.json"] or not MODEL.items() <= schema.items():
            raise ArtifactError("its model is of an unknown kind.")
        if set(schema) - set(MODEL) - {"__id__", "protocol", "_skops_version"}:
            raise ArtifactError("its model is of an unknown kind.")
    foreign = _kinds(processing) - KINDS
    if foreign:
        raise ArtifactError(f"its quantizers hold {sorted(foreign)}.")


def _kinds(value: object) -> set[str]:
    """All kinds of objects that Concrete ML's loader would build."""
    if isinstance(value, dict):
        own = {str(value["type_name"])} if "type_name" in value else set()
        return own.union(*map(_kinds, value.values()))
    if isinstance(value, list):
        return set().union(*map(_kinds, value))
    return set()
