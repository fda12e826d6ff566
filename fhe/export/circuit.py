"""What an artifact holds of a compiled circuit."""

from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from concrete.ml.quantization import QuantizedModule

from ...support.errors import CompileError
from ..manifest import CircuitFacts, InputQuantizer, OutputQuantizer


def save_circuit(module: QuantizedModule, path: Path) -> None:
    """Write the compiled circuit, for `hushtune.fhe.circuit.Circuit`.

    Args:
        module: compiled; the same network gives the same bytes.
        path: of the zip file.
    """
    server = module.fhe_circuit.server
    # Concrete cannot write ranges; whoever loads the circuit gives them again
    server._configuration = server._configuration.fork(range_restriction=None)
    with TemporaryDirectory(dir=path.parent) as folder:
        dated = Path(folder) / "server.zip"
        server.save(dated, via_mlir=True)
        with ZipFile(dated) as old, ZipFile(path, "w", ZIP_DEFLATED) as new:
            for name in sorted(old.namelist()):
                new.writestr(ZipInfo(name), old.read(name), ZIP_DEFLATED)


def circuit_facts(module: QuantizedModule) -> CircuitFacts:
    """What the compiler made: PBS, bits, keys."""
    circuit = module.fhe_circuit
    return CircuitFacts(
        pbs=circuit.programmable_bootstrap_count,
        widest_bits=circuit.graph.maximum_integer_bit_width(),
        p_error=circuit.p_error,
        bootstrap_key_bytes=circuit.size_of_bootstrap_keys,
        keyswitch_key_bytes=circuit.size_of_keyswitch_keys,
    )


def input_quantizer(module: QuantizedModule) -> InputQuantizer:
    """Concrete ML's quantizer of the features, which is symmetric and signed here.

    Raises:
        CompileError: it is of another kind.
    """
    (quantizer,) = module.input_quantizers
    bits = int(quantizer.n_bits)
    if quantizer.zero_point or quantizer.offset != 1 << (bits - 1) or quantizer.is_narrow:
        raise CompileError("Concrete ML quantizes the features in an unexpected way.")
    return InputQuantizer(scale=float(quantizer.scale), bits=bits)


def output_quantizer(module: QuantizedModule) -> OutputQuantizer:
    """Concrete ML's quantizer of the logits, without a zero point here.

    Raises:
        CompileError: it has one.
    """
    (quantizer,) = module.output_quantizers
    if np.any(quantizer.zero_point):
        raise CompileError("Concrete ML quantizes the logits in an unexpected way.")
    return OutputQuantizer(scale=float(quantizer.scale))
