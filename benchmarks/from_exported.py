"""Start a training from an exported model, such as a shipped one.

    python benchmarks/from_exported.py MODEL RECIPE --out FOLDER [KEY=VALUE ...]

The script writes a checkpoint to FOLDER, at the step that MODEL's training ended with;
`chirrup train RECIPE --out FOLDER` continues it. An exported model has neither discriminators nor
moments of the optimisers, so they begin anew. Weights have the precision of the export.

It restores models whose layers the export keeps or folds reversibly, with a residual quantizer that
projects. It refuses others.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

from itertools import count
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from chirrup.errors import UsageError
from chirrup.lab.export.model_folder import constants_of, read
from chirrup.lab.models import Model
from chirrup.lab.nn import Snake, set_weight
from chirrup.lab.quantizers.bsq import BinarySphericalQuantizer
from chirrup.lab.training.config import load_recipe
from chirrup.lab.training.loop import Trainer
from chirrup.model_folders import model_folder
from shared import check_new, console, continuing, run

Tensors = dict[str, Tensor]

FOLDED_SCALES = ("scale_1", "scale_2")
"""Layer scales, which the export multiplies into the weights before them."""
SNAKE = "snake."
"""Prefix of the numbered parameters of `Snake`."""


def tensors_of(graph: onnx.ModelProto) -> Tensors:
    """Return the constants of a graph by the names of the parameters that they were exported from.

    Equal biases, which are stored once, get each name. The parameters of `Snake`, whose names the
    export loses, are numbered in their order.
    """
    found = {name: torch.tensor(values) for name, values in constants_of(graph).items()}
    inputs = {output: node.input[0] for node in graph.graph.node for output in node.output[:1]}
    users = {name: node for node in reversed(graph.graph.node) for name in node.input}
    snakes = count()
    for node in graph.graph.node:
        user = users.get(node.output[0], node)
        if node.op_type == "Conv":
            _, weight, *biases = node.input
            bias = found[biases[0]] if biases else torch.zeros(len(found[weight]))
            found.setdefault(weight.removesuffix("weight") + "bias", bias)
        elif node.op_type == "GRU":
            weight = node.input[2]
            while weight not in found:  # the product of slices, which order the gates
                weight = inputs[weight]
            layer, _, suffix = weight.rpartition(".weight_hh")
            update, reset, new, *others = found[node.input[3]].reshape(6, -1)
            found[f"{layer}.bias_ih{suffix}"] = torch.cat([reset, update, new])
            update, reset, new = others
            found[f"{layer}.bias_hh{suffix}"] = torch.cat([reset, update, new])
        elif (node.op_type, user.op_type) == ("MatMul", "Add") and node.input[1] in found:
            layer = user.input[1].removesuffix(".bias")
            found[f"{layer}.weight"] = found[node.input[1]].T
        elif (node.op_type, user.op_type) == ("Mul", "Cos") and node.input[0] in found:
            found[f"{SNAKE}{next(snakes)}"] = found[node.input[0]] / 2
    for name in [name for name in found if name.endswith(".frequency")]:  # of SnakeBeta
        layer = name.removesuffix(".frequency")
        found[f"{layer}.log_alpha"] = (found[name] / 2).log()
        found[f"{layer}.log_beta"] = -(2 * found[f"{layer}.height"]).log()
    return found


@torch.no_grad()
def restore_layers(part: nn.Module, name: str, constants: Tensors) -> None:
    """Set the parameters of the encoder or the decoder, and the statistics of its input.

    Raises:
        UsageError: a parameter has no constant of its name and size.
    """
    snakes = count()
    for path, module in part.named_modules(prefix=name):
        if parametrize.is_parametrized(module, "weight"):
            set_weight(module, constant(constants, f"{path}.weight", cast(Tensor, module.weight)))
        elif isinstance(module, Snake) and (known := f"{SNAKE}{next(snakes)}") in constants:
            constants[f"{path}.alpha"] = constants[known]
    for path, own in part.state_dict(prefix=f"{name}.").items():
        if path.rpartition(".")[2] in FOLDED_SCALES:
            own.fill_(1.0)
        elif "parametrizations" not in path:
            own.copy_(constant(constants, path, own))


def constant(constants: Tensors, name: str, own: Tensor) -> Tensor:
    """Return the constant of a parameter.

    Raises:
        UsageError: there is none of its size.
    """
    outer = name.replace(".conv.", ".")  # layers that add the bias after the convolution
    found = constants.get(name, constants.get(outer))
    if found is None or found.numel() != own.numel():
        raise UsageError(f"the exported model has no {name} of the size {list(own.shape)}")
    return found.reshape(own.shape)


@torch.no_grad()
def restore_quantizer(model: Model, constants: Tensors) -> None:
    """Set the levels of a residual quantizer from the constants of its search and its lookup.

    Raises:
        UsageError: the quantizer has no projections, or other sizes.
    """
    levels = model.quantizer.trained_levels
    if "search.project" not in constants or len(levels) != len(constants["lookup.bias"]):
        raise UsageError("the exported model has another quantizer")
    size, dim = levels[0].codebook.shape
    inward = constants["search.project"].T.split(dim)
    outward = constants["lookup.project"].split(dim)
    tables = constants["lookup.table"].split(size + 1)
    biases = constants["search.bias"].split(dim)
    before = torch.zeros_like(constants["lookup.bias"][0])
    for index, level in enumerate(levels):
        set_weight(level.project_in, inward[index][:, :, None])
        set_weight(level.project_out, outward[index].T[:, :, None])
        # The search has the outputs' biases of the levels before subtracted from its own.
        cast(Tensor, level.project_in.bias).copy_(biases[index] + inward[index] @ before)
        cast(Tensor, level.project_out.bias).copy_(constants["lookup.bias"][index])
        before += constants["lookup.bias"][index]
        level.set_entries(torch.arange(size), tables[index][:size])


def restore(model: Model, folder: Path) -> dict[str, Any]:
    """Set the parameters of a model from its export.

    Returns:
        The content of ``model.json``.

    Raises:
        UsageError: the export is of another model, or of one that it folds further.
    """
    graphs, about = read(folder)
    encoder, decoder = tensors_of(graphs["encoder"]), tensors_of(graphs["decoder"])
    restore_layers(model.encoder, "encoder", encoder)
    restore_layers(model.decoder, "decoder", decoder)
    if not isinstance(model.quantizer, BinarySphericalQuantizer):  # it has no parameters
        restore_quantizer(model, encoder | decoder)
    return about


def main() -> None:
    parser = continuing("Start a training from an exported model.", "model")
    options = parser.parse_intermixed_args()
    check_new(options.out)
    torch.set_num_threads(1)
    trainer = Trainer(
        load_recipe(options.recipe, options.changes), options.out, torch.device("cpu")
    )
    training = restore(trainer.model, model_folder(str(options.model)))["training"]
    trainer.ema.load_state_dict(trainer.model.state_dict())
    trainer.step, trainer.hours = training.get("steps", 0), training.get("hours", 0.0)
    trainer.codebooks.started = True
    trainer.save()
    console.print(f"{options.out}: {options.model} at step {trainer.step}")


if __name__ == "__main__":
    run(main)
