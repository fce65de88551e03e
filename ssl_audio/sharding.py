"""FSDP2: every process keeps a part of each weight; here the parts are put together and cut.

A sharded module can only compute, with all processes at once. Whatever else needs the weights (a
checkpoint, a probe, the saved encoder) reads them from a twin that is whole.
"""

import os
from collections.abc import Mapping

from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ssl_audio.errors import ConfigError


def shard_on_cpu_too(accelerator: Accelerator) -> None:
    """Does what accelerate does on GPUs only: without this it ignores FSDP on a CPU silently."""
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if asked and accelerator.device.type == "cpu" and accelerator.num_processes > 1:
        plugin = FullyShardedDataParallelPlugin()
        if accelerator.mixed_precision != "no":
            plugin.set_mixed_precision(accelerator.mixed_precision)
        accelerator.state.fsdp_plugin = plugin
        # Both, because accelerate copies the one over the other whenever it makes a state.
        for state in (accelerator.state, PartialState()):
            state.distributed_type = DistributedType.FSDP


def check_sharding(accelerator: Accelerator) -> None:
    """Refuses the first version of FSDP.

    Raises:
        ConfigError: saying what to set.
    """
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise ConfigError(
            "FSDP is version 1, expected 2: set fsdp_version: 2 in accelerate's configuration, or "
            "FSDP_VERSION=2"
        )


def whole(tensor: Tensor) -> Tensor:
    """All parts of a tensor put together; to be called by all processes."""
    # The clone waits for what is still under way, and can be saved.
    return tensor.full_tensor().clone() if isinstance(tensor, DTensor) else tensor


def cut_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor of a parameter's shape cut as the parameter is; others as they are."""
    if isinstance(parameter, DTensor) and tensor.shape == parameter.shape:
        return distribute_tensor(tensor, parameter.device_mesh, parameter.placements)
    return tensor


def is_cut(module: nn.Module) -> bool:
    """Whether every process keeps only a part of some weight."""
    return any(isinstance(weight, DTensor) for weight in module.parameters())


def check_is_cut(module: nn.Module) -> None:
    """Makes sure that every weight of a module is cut.

    Raises:
        ConfigError: some weight is whole in every process.
    """
    kept = [name for name, weight in module.named_parameters() if not isinstance(weight, DTensor)]
    if kept:
        raise ConfigError(f"FSDP2 left {len(kept)} weights whole, e.g. {kept[0]}: use DDP instead")


def copy_weights(module: nn.Module, twin: nn.Module) -> None:
    """Puts a sharded module's weights into its whole twin; to be called by all processes."""
    weights: Mapping[str, Tensor] = module.state_dict()
    twin.load_state_dict({name: whole(weight) for name, weight in weights.items()})
