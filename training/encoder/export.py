"""What a trained encoder leaves behind: weights in a file of their own, a graph that reads them.

The weights are written once, as float16 in a safetensors file; the ONNX graph refers to them there
("external data") and turns them into float32 when it is loaded.
"""

import io
import json
import struct
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

from ...model.encoder import Encoder
from ...model.features import MelPower
from ...support.files import write_atomically

OPSET = 17
SMALLEST = 256
"""Tensors of fewer values stay in the graph, as float32."""
INPUT, OUTPUT = "power", "embedding"


def export_encoder(network: Encoder, graph: Path, weights: Path) -> None:
    """Write a trained encoder for inference.

    Args:
        network: trained, with batch norm.
        graph: of the ONNX file; its folder is that of the weights.
        weights: of the safetensors file; written last.
    """
    plain = network.folded()
    buffer = io.BytesIO()
    signal = plain.signal
    frames = MelPower(signal).frames(round(signal.crop_seconds * signal.sample_rate_hz))
    power = torch.rand(2, signal.bands, frames)
    torch.onnx.export(
        _Unrounded(plain),
        (power,),
        buffer,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes={INPUT: {0: "crops"}, OUTPUT: {0: "crops"}},
    )
    model = onnx.load_from_string(buffer.getvalue())
    large = {
        tensor.name: numpy_helper.to_array(tensor).astype(np.float16)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= SMALLEST
    }
    data = save(large)
    places = _places(data)
    for tensor in list(model.graph.initializer):
        if tensor.name not in large:
            continue
        model.graph.initializer.remove(tensor)
        start, end = places[tensor.name]
        half = TensorProto(
            name=f"{tensor.name}.half",
            data_type=TensorProto.FLOAT16,
            dims=tensor.dims,
            data_location=TensorProto.EXTERNAL,
        )
        where = {"location": weights.name, "offset": start, "length": end - start}
        for key, value in where.items():
            half.external_data.add(key=key, value=str(value))
        model.graph.initializer.append(half)
        cast = helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT)
        model.graph.node.insert(0, cast)
    told = json.dumps(signal.model_dump(exclude={"crop_seconds"}))
    model.metadata_props.add(key="signal", value=told)
    model.producer_name, model.producer_version, model.doc_string = "hushtune", "", ""
    write_atomically(graph, model.SerializeToString())
    write_atomically(weights, data)


def _places(data: bytes) -> dict[str, tuple[int, int]]:
    """First and last byte of every tensor in a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    begin = 8 + length
    return {
        name: (begin + about["data_offsets"][0], begin + about["data_offsets"][1])
        for name, about in header.items()
        if name != "__metadata__"
    }


class _Unrounded(torch.nn.Module):
    """The encoder without its last rounding, which is the client's quantizer."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, power: torch.Tensor) -> torch.Tensor:
        return self.encoder.embed(power)
