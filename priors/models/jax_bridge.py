"""Arrays between JAX (or numpy) and PyTorch through DLPack: no copy on one device.

Both sides then read one piece of memory. JAX arrays never change, so a tensor made here must not
be written in place.
"""

from typing import Any

import numpy as np

from priors.models.torch_runtime import require

__all__ = ["to_the_kind_of", "to_torch"]


def to_torch(array: Any, device: Any = None, dtype: Any = None) -> Any:
    """A tensor over the array's memory; copied only to another device or dtype.

    numpy arrays that may not be written are copied: PyTorch knows no read-only tensors.
    """
    torch = require("torch")
    if isinstance(array, np.ndarray):
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    else:
        tensor = torch.from_dlpack(array.block_until_ready())
    return tensor.to(device=device, dtype=dtype)


def to_the_kind_of(like: Any, tensor: Any) -> Any:
    """The tensor as a JAX array (or numpy array) like `like`, on the device of `like`."""
    tensor = tensor.detach().contiguous()
    if isinstance(like, np.ndarray):
        return tensor.cpu().numpy()
    import jax

    (device,) = like.devices()
    if (tensor.device.type == "cpu") != (device.platform == "cpu"):
        return jax.device_put(tensor.cpu().numpy(), device)
    return jax.device_put(jax.dlpack.from_dlpack(tensor), device)
