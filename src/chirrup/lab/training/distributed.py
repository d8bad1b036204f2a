"""Training in several processes under ``torchrun``: equal models, averaged gradients.

Without ``torchrun`` there is one process, and nothing is exchanged.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn


def process() -> int:
    """Return the index of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes."""
    if not dist.is_initialized():
        return
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= processes()
    for parameter, gradient in zip(parameters, flat.split([p.numel() for p in parameters])):
        parameter.grad = gradient.view_as(parameter)


def all_reduce(tensor: Tensor) -> Tensor:
    """Add a tensor over the processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def all_gather(tensor: Tensor) -> Tensor:
    """Concatenate the tensors of all processes, which have one shape."""
    if not dist.is_initialized():
        return tensor
    every = [torch.empty_like(tensor) for _ in range(processes())]
    dist.all_gather(every, tensor.contiguous())
    return torch.cat(every)


def broadcast_decision(decision: bool, device: torch.device) -> bool:
    """Return the first process's decision in every process."""
    if not dist.is_initialized():
        return decision
    flag = torch.tensor(int(decision), device=device)
    dist.broadcast(flag, 0)
    return bool(flag)


def broadcast_parameters(module: nn.Module) -> None:
    """Copy the parameters and buffers of the first process to all others."""
    if dist.is_initialized():
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.data, 0)
