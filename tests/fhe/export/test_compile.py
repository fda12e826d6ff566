import numpy as np
import pytest
import torch

from hushtune.configs.schema import (
    ConvLayer,
    DenseLayer,
    FheSettings,
    FilterBankLayer,
    NetworkSettings,
)
from hushtune.fhe.export.calibrate import activation_ranges
from hushtune.fhe.export.compile import compile_network
from hushtune.model.network import Network, network_logits


def trained(settings, shape):
    """A quantized network that met random images, and they."""
    torch.manual_seed(0)
    twin, network = (
        Network(settings, shape, 6, quantized=quantized) for quantized in (False, True)
    )
    images = torch.randn(320, *shape).clamp(-4, 4)
    network.load_from_float(twin, images)
    network.train()
    for part in images.split(8):
        network(part)
    return network.eval(), images


def compiled(settings, shape):
    """Such a network, and the graph of its circuit."""
    network, images = trained(settings, shape)
    return network, compile_network(network, images.numpy(), FheSettings()).fhe_circuit.graph


@pytest.mark.parametrize(
    "layers",
    [
        (),
        (DenseLayer(kind="dense", units=5),),
        (ConvLayer(kind="conv", channels=3, kernel=(8, 2), stride=(8, 2)),),
    ],
    ids=["linear", "dense", "conv"],
)
def test_the_circuit_holds_the_networks_own_integers(layers):
    settings = NetworkSettings(layers=layers, input_bits=4, weight_bits=3, head_bits=2)
    network, graph = compiled(settings, (2, 16, 4))
    nodes = graph.query_nodes(custom_filter=lambda node: node.operation.value == "constant")
    constants = [np.asarray(node.evaluator()) for node in nodes]
    layers_of = [*(block.linear for block in network.blocks), network.head]
    for layer in layers_of:
        weight = layer.quant_weight()
        integers = torch.round(weight.value / weight.scale).int().numpy()
        assert any(
            constant.size == integers.size and sorted(constant.ravel()) == sorted(integers.ravel())
            for constant in constants
        ), "the circuit's weights are not the network's"


def test_activations_of_one_bit_compile():
    layers = (ConvLayer(kind="conv", channels=24, kernel=(8, 3)),)
    settings = NetworkSettings(
        layers=layers, input_bits=4, weight_bits=3, activation_bits=1, rounding_bits=None
    )
    network, images = trained(settings, (1, 8, 4))
    module = compile_network(network, images.numpy(), FheSettings())
    clear = network_logits(network, images[:50])
    assert len(np.unique(clear, axis=0)) > 10, "not all alike"
    found = module.forward(images[:50].numpy(), fhe="disable")
    assert np.corrcoef(found.ravel(), clear.ravel())[0, 1] > 0.99


def test_each_layer_keeps_its_own_bits():
    layers = (
        FilterBankLayer(kind="filterbank", filters=4, rounding_bits=5, f_max_hz=400),
        ConvLayer(kind="conv", channels=3, kernel=(4, 1), stride=(4, 1)),
    )
    settings = NetworkSettings(layers=layers, input_bits=4, weight_bits=3, rounding_bits=3)
    network, graph = compiled(settings, (1, 8, 20))
    assert network.kept_bits == [5, 3]
    kept = {
        node.output.shape[1]: (
            node.inputs[0].dtype.bit_width - node.properties["kwargs"]["lsbs_to_remove"]
        )
        for node in graph.query_nodes(custom_filter=lambda node: "round" in str(node.properties))
        if "lsbs_to_remove" in node.properties.get("kwargs", {})
    }
    assert kept == {4: 5, 3: 3}, "by channels"


def test_the_circuit_wraps_as_the_network_does():
    """Values beyond the bits that a filter bank keeps come out as training knows it."""
    layers = (
        FilterBankLayer(kind="filterbank", filters=4, overflow=0.01, f_max_hz=400),
        ConvLayer(kind="conv", channels=8, kernel=(4, 1), stride=(4, 1)),
    )
    settings = NetworkSettings(layers=layers, input_bits=6, weight_bits=4, rounding_bits=6)
    network, images = trained(settings, (1, 8, 20))
    ranges, limit = activation_ranges(network, images)
    within, beyond = images[ranges <= limit], 2 * images[ranges > limit]
    assert len(within) > 30 and len(beyond) > 30
    wanted = network_logits(network, beyond)
    network.blocks[0].rounding.wraps = False
    otherwise = network_logits(network, beyond)
    module = compile_network(network, within.numpy(), FheSettings())
    given = module.forward(beyond.numpy(), fhe="simulate")
    alike = [np.corrcoef(logits.ravel(), given.ravel())[0, 1] for logits in (wanted, otherwise)]
    assert alike[0] > 0.85 and alike[1] < 0.5, alike
