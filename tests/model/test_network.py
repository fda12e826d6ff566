import pytest
import torch
from pydantic import ValidationError

from hushtune.configs.schema import (
    ConvLayer,
    DenseLayer,
    FilterBankLayer,
    NetworkSettings,
    PoolLayer,
)
from hushtune.model.network import AccumulatorRounding, Network

SHAPE = (3, 16, 8)
CONV = ConvLayer(kind="conv", channels=4, kernel=(8, 8), stride=(4, 1))
DENSE = DenseLayer(kind="dense", units=12)
BANK = FilterBankLayer(kind="filterbank", filters=3, blocks=2, f_min_hz=50, f_max_hz=200)
POOL = PoolLayer(kind="pool")
LONG = ConvLayer(kind="conv", channels=5, kernel=(4, 1), stride=(3, 1))


def build(*layers, quantized=True, **bits):
    return Network(NetworkSettings(layers=layers, **bits), SHAPE, 7, quantized=quantized)


@pytest.mark.parametrize("layers", [(), (CONV,), (DENSE,), (CONV, DENSE), (CONV, CONV)])
@pytest.mark.parametrize("quantized", [False, True])
def test_layers_are_a_config_choice(layers, quantized):
    network = build(*layers, quantized=quantized)
    assert network(torch.randn(5, *SHAPE)).shape == (5, 7)


def test_a_conv_layer_after_a_dense_one_is_refused():
    with pytest.raises(ValidationError, match="a conv layer cannot follow a dense one"):
        build(DENSE, CONV)


def test_quantized_weights_take_few_values():
    network = build(CONV, weight_bits=2, head_bits=3)
    network.load_from_float(build(CONV, quantized=False))
    for layer, most in ((network.blocks[0].linear, 3), (network.head, 7)):
        assert len(layer.quant_weight().value.unique()) <= most


def test_the_quantized_network_starts_from_its_twin():
    torch.manual_seed(0)
    twin = build(DENSE, quantized=False)
    network = build(
        DENSE, input_bits=8, weight_bits=8, head_bits=8, activation_bits=6, rounding_bits=None
    )
    network.load_from_float(twin)
    images = torch.randn(400, *SHAPE)
    for part in images.split(10):  # lets the activations find their scales
        twin.train()(part), network.train()(part)
    twin.eval(), network.eval()
    plain, quantized = twin(images), network(images)
    assert torch.corrcoef(torch.stack([plain.flatten(), quantized.flatten()]))[0, 1] > 0.98


def test_rounding_keeps_the_highest_bits():
    rounding = AccumulatorRounding(3)
    rounding.largest.fill_(100.0)  # eight bits with the sign: steps of 32
    values = torch.tensor([0.0, 15.0, 17.0, -40.0, 99.0]) * 0.5
    rounded, _ = rounding.eval()(values, torch.tensor(0.5))
    assert rounded.tolist() == [0.0, 0.0, 16.0, -16.0, 48.0]


def test_one_activation_costs_one_pbs_is_what_the_layers_count():
    network = build(CONV, DENSE)
    images = torch.randn(2, *SHAPE)
    conv = network.blocks[0](network.entry(images))
    assert conv.value[0].numel() == 4 * 3 * 1


@pytest.mark.parametrize(
    "layers, message",
    [
        ((CONV, BANK), "only be the first"),
        ((POOL,), "after others"),
        ((BANK, POOL, DENSE), "last layer"),
        ((DENSE, POOL), "no positions"),
    ],
)
def test_layers_that_make_no_sense_are_refused(layers, message):
    with pytest.raises(ValidationError, match=message):
        build(*layers)


@pytest.mark.parametrize("quantized", [False, True])
def test_a_mean_over_positions_becomes_part_of_the_head(quantized):
    torch.manual_seed(1)
    settings = NetworkSettings(layers=(BANK, LONG, POOL), rounding_bits=None)
    network = Network(settings, (1, 40, 20), 7, quantized=quantized)
    images = torch.randn(60, 1, 40, 20)
    for part in images.split(2):  # lets the activations find their scales
        network.train()(part)
    with torch.no_grad():
        before = network.eval()(images)
        step = network.logit_step() if quantized else None
        after = network.for_export()(images)
        assert torch.allclose(before, after, atol=1e-4 * before.abs().max())
        if quantized:
            assert network.logit_step() == pytest.approx(step)
            whole = after / step
            assert torch.allclose(whole, whole.round(), atol=0.02)
    assert network.positions == 12


def test_the_quantized_networks_filters_reach_equally_far():
    """And it computes what its twin computes: batch norm takes the gains off."""
    torch.manual_seed(2)
    settings = NetworkSettings(
        layers=(BANK, LONG, POOL),
        input_bits=8,
        weight_bits=8,
        head_bits=8,
        activation_bits=6,
        rounding_bits=None,
    )
    twin, network = (Network(settings, (1, 40, 50), 7, quantized=q) for q in (False, True))
    with torch.no_grad():
        twin.blocks[0].linear.weight.mul_(torch.tensor([1.0, 10.0, 0.1]).view(3, 1, 1, 1))
    images = torch.randn(400, 1, 40, 50)
    for part in [*images.split(10)] * 4:  # statistics of batch norm settle slowly
        twin.train()(part)
    network.load_from_float(twin, images)
    network.blocks[0].norm.momentum = 0.0  # keeps the statistics of the twin
    for part in images.split(10):
        network.train()(part)
    with torch.no_grad():
        heard = [net.blocks[0].linear(net.entry(images)) for net in (twin, network)]
        heard = [getattr(h, "value", h).abs().transpose(0, 1).flatten(1) for h in heard]
        within = 1 - settings.layers[0].overflow
        loud, even = (torch.quantile(h, within, dim=1) for h in heard)
        plain, quantized = twin.eval()(images), network.eval()(images)
    assert loud.max() > 50 * loud.min()
    assert even.max() < 1.1 * even.min()
    assert torch.corrcoef(torch.stack([plain.flatten(), quantized.flatten()]))[0, 1] > 0.98


@pytest.mark.parametrize("bits, overflow", [(4, 0.01), (2, 0.01), (4, 0.0)])
def test_a_filter_banks_outputs_fill_the_bits_that_are_kept(bits, overflow):
    torch.manual_seed(2)
    bank = {"kind": "filterbank", "filters": 3, "rounding_bits": bits, "overflow": overflow}
    settings = NetworkSettings(layers=(bank, LONG, POOL))
    twin, network = (Network(settings, (1, 40, 50), 7, quantized=q) for q in (False, True))
    images = torch.randn(400, 1, 40, 50)
    network.load_from_float(twin, images)
    with torch.no_grad():
        entry, filters = network.entry(images), network.blocks[0].linear
        heard = filters(entry)
        scale = entry.scale * filters.quant_weight().scale
        _, sign = network.blocks[0].rounding.eval()(getattr(heard, "value", heard), scale)
    wrapped = (sign < 0).float().mean((0, 2, 3))
    expected = torch.full((3,), overflow)
    assert torch.allclose(wrapped, expected, atol=0.6 * overflow + 1e-6), wrapped


def test_a_filter_bank_needs_examples_to_load_from_float():
    settings = NetworkSettings(layers=(BANK, LONG, POOL))
    twin, network = (Network(settings, (1, 40, 50), 7, quantized=q) for q in (False, True))
    with pytest.raises(ValueError, match="needs some"):
        network.load_from_float(twin)


def test_a_silent_filter_spoils_nothing():
    settings = NetworkSettings(layers=(BANK, LONG, POOL))
    twin, network = (Network(settings, (1, 40, 50), 7, quantized=q) for q in (False, True))
    with torch.no_grad():
        twin.blocks[0].linear.weight[1] = 0.0
    images = torch.randn(40, 1, 40, 50)
    network.load_from_float(twin, images)
    assert torch.isfinite(network(images)).all()


def test_an_accumulator_beyond_its_width_turns_round():
    rounding = AccumulatorRounding(3, wraps=True)
    rounding.fill(5)  # -16 to 15, in steps of 4
    values = torch.tensor([0.0, 3.0, -15.0, 13.0, 15.0, 17.0, 31.0, -17.0, -33.0, 47.0])
    rounded, sign = rounding(values, torch.tensor(1.0))
    assert rounded.tolist() == [0, 4, -16, 12, -16, -16, 0, -16, 0, -16]
    assert sign.tolist() == [1, 1, 1, 1, -1, -1, -1, 1, -1, 1]


def test_filters_hear_their_own_frequency():
    settings = NetworkSettings(layers=(BANK, LONG, POOL))
    network = Network(settings, (1, 40, 50), 7, quantized=False)
    network.start_filters(1000.0)
    for place, frequency in enumerate((50, 100, 200)):
        wave = torch.cos(2 * torch.pi * frequency * torch.arange(2000) / 1000 + 0.5)
        with torch.no_grad():
            heard = network.blocks[0].linear(wave.view(1, 1, 40, 50)).square().sum((0, 2, 3))
        assert heard.argmax() == place
