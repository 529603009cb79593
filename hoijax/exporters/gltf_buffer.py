"""The binary half of a glTF file: arrays appended to one buffer, each with its accessor."""

import numpy as np
from numpy import ndarray
from pygltflib import (
    ARRAY_BUFFER,
    ELEMENT_ARRAY_BUFFER,
    FLOAT,
    UNSIGNED_BYTE,
    UNSIGNED_INT,
    Accessor,
    BufferView,
)

_COMPONENTS = {np.dtype(np.float32): FLOAT, np.dtype(np.uint8): UNSIGNED_BYTE}
_SHAPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class GltfBuffer:
    """Collects arrays; `blob` is the buffer, `accessors` and `views` describe it."""

    def __init__(self) -> None:
        self.blob = bytearray()
        self.accessors: list[Accessor] = []
        self.views: list[BufferView] = []

    def add_vertices(self, array: ndarray, bounds: bool = False) -> int:
        """Accessor of per-vertex data: float32 (N, 3 or 4) or uint8 (N, 4)."""
        return self._add(array, ARRAY_BUFFER, bounds)

    def add_indices(self, faces: ndarray) -> int:
        """Accessor of triangle corners (F, 3)."""
        return self._add(faces.astype(np.uint32).reshape(-1), ELEMENT_ARRAY_BUFFER, True)

    def add_values(self, array: ndarray, bounds: bool = False) -> int:
        """Accessor of animation times, animation values or matrices (column-major, (N, 16))."""
        return self._add(array, None, bounds)

    def _add(self, array: ndarray, target: int | None, bounds: bool) -> int:
        array = np.ascontiguousarray(array)
        width = 1 if array.ndim == 1 else array.shape[1]
        component = UNSIGNED_INT if array.dtype == np.uint32 else _COMPONENTS[array.dtype]
        content = array.tobytes()
        view = BufferView(
            buffer=0, byteOffset=len(self.blob), byteLength=len(content), target=target
        )
        self.views.append(view)
        self.blob += content + b"\0" * (-len(content) % 4)
        accessor = Accessor(
            bufferView=len(self.views) - 1,
            byteOffset=0,
            componentType=component,
            count=len(array),
            type=_SHAPES[width],
        )
        if bounds:
            table = array.reshape(len(array), width)
            accessor.min, accessor.max = table.min(0).tolist(), table.max(0).tolist()
        self.accessors.append(accessor)
        return len(self.accessors) - 1
