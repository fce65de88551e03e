"""What other processes hold, as one tensor."""

import torch
import torch.distributed
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def gather_with_gradient(tensor: Tensor) -> Tensor:
    """Every process's rows, in the order of the processes; the tensor itself if there is only one.

    The gradient goes back to the process that each row came from, summed over those that used it.

    Args:
        tensor: (batch, ...) of equal shape in every process.

    Returns:
        (processes * batch, ...).
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return tensor
    return torch.cat(all_gather(tensor))


def first_gathered_row(batch_size: int) -> int:
    """Where this process's rows begin among the gathered ones."""
    if not torch.distributed.is_initialized():
        return 0
    return torch.distributed.get_rank() * batch_size
