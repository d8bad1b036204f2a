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

from pathlib import Path
from typing import Any, cast

import onnx
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from chirrup.errors import UsageError
from chirrup.lab.export.model_folder import constants_of, read
from chirrup.lab.models import Model
from chirrup.lab.nn import set_weight
from chirrup.lab.training.config import load_recipe
from chirrup.lab.training.loop import Trainer
from chirrup.model_folders import model_folder
from shared import check_new, console, continuing, run

Tensors = dict[str, Tensor]

FOLDED_SCALES = ("scale_1", "scale_2")
"""Layer scales, which the export multiplies into the weights before them."""


def tensors_of(graph: onnx.ModelProto) -> Tensors:
    """Return the constants of a graph by the names of the parameters that they were exported from.

    Equal biases, which are stored once, get each name.
    """
    found = {name: torch.tensor(values) for name, values in constants_of(graph).items()}
    inputs = {output: node.input[0] for node in graph.graph.node for output in node.output[:1]}
    for node in graph.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3:
            _, weight, bias = node.input
            found.setdefault(weight.removesuffix("weight") + "bias", found[bias])
        elif node.op_type == "GRU":
            weight = node.input[2]
            while weight not in found:  # the product of slices, which order the gates
                weight = inputs[weight]
            layer, _, suffix = weight.rpartition(".weight_hh")
            update, reset, new, *others = found[node.input[3]].reshape(6, -1)
            found[f"{layer}.bias_ih{suffix}"] = torch.cat([reset, update, new])
            update, reset, new = others
            found[f"{layer}.bias_hh{suffix}"] = torch.cat([reset, update, new])
    for name in [name for name in found if name.endswith(".frequency")]:  # of SnakeBeta
        layer = name.removesuffix(".frequency")
        found[f"{layer}.log_alpha"] = (found[name] / 2).log()
        found[f"{layer}.log_beta"] = -(2 * found[f"{layer}.height"]).log()
    return found


@torch.no_grad()
def restore_layers(model: Model, constants: Tensors) -> None:
    """Set the parameters of encoder and decoder.

    Raises:
        UsageError: a parameter has no constant of its name and size.
    """
    for part in ("encoder", "decoder"):
        for path, module in getattr(model, part).named_modules(prefix=part):
            if parametrize.is_parametrized(module, "weight"):
                set_weight(module, constant(constants, f"{path}.weight", module.weight))
            if "parametrizations" in path:
                continue
            for name, own in module.named_parameters(recurse=False):
                if name in FOLDED_SCALES:
                    own.fill_(1.0)
                else:
                    own.copy_(constant(constants, f"{path}.{name}", own))


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
    constants = tensors_of(graphs["encoder"]) | tensors_of(graphs["decoder"])
    restore_layers(model, constants)
    restore_quantizer(model, constants)
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
