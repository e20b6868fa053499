"""What the real picamera2 lacks on a machine without camera hardware, put in when it is imported.

Memory for pictures comes from memfd, as the kernel has no dma_heap, and each picture has a plane for Y and one for
Cb and Cr, as libcamera's virtual pipeline wants it. That camera has no raw role either: asked for raw modes it lists
those of the viewfinder. Everything else is picamera2's own.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import mmap
import os
import sys
from types import ModuleType
from typing import Any


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the module `picamera2.picamera2` as ever, and alters it after it was loaded."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "picamera2.picamera2":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            _alter(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _alter(module: Any) -> None:
    import libcamera
    from picamera2.allocators import DmaAllocator
    from picamera2.allocators.allocator import Allocator

    class MemfdAllocator(DmaAllocator):  # type: ignore[misc]
        """Pictures in anonymous memory."""

        def __init__(self) -> None:
            Allocator.__init__(self)
            self.dmaHeap = None
            self.mapped_buffers: dict[Any, mmap.mmap] = {}
            self.mapped_buffers_used: dict[int, bool] = {}
            self.frame_buffers: dict[Any, list[Any]] = {}
            self.open_fds: list[int] = []
            self.libcamera_fds: list[int] = []
            self.sync = _NoSync

        def allocate(self, configuration: Any, _: object) -> None:
            self.libcamera_fds = []
            self.cleanup()
            for descriptor in self.open_fds:
                os.close(descriptor)
            self.frame_buffers, self.open_fds = {}, []
            for stream in configuration:
                self.frame_buffers[stream.stream] = [self._buffer(stream) for _ in range(stream.buffer_count)]

        def _buffer(self, stream: Any) -> Any:
            descriptor = os.memfd_create("picture")
            os.ftruncate(descriptor, stream.frame_size)
            self.open_fds.append(descriptor)
            luma = stream.stride * stream.size.height
            planes = []
            for offset, length in ((0, luma), (luma, stream.frame_size - luma)):
                plane = libcamera.FrameBuffer.Plane()
                plane.fd, plane.offset, plane.length = descriptor, offset, length
                planes.append(plane)
            self.libcamera_fds.append(planes[0].fd)
            self.mapped_buffers_used[planes[0].fd] = False
            buffer = libcamera.FrameBuffer(planes)
            self.mapped_buffers[buffer] = mmap.mmap(descriptor, stream.frame_size)
            return buffer

    class _NoSync:
        """Anonymous memory needs none."""

        def __init__(self, allocator: Any, buffer: Any, _write: bool) -> None:
            self._memory = allocator.mapped_buffers.get(buffer)

        def __enter__(self) -> Any:
            if self._memory is None:
                raise RuntimeError("no buffer")
            return self._memory

        def __exit__(self, *_: object) -> None:
            pass

    def modes(camera: Any) -> list[dict[str, Any]]:
        formats = camera.camera.generate_configuration([libcamera.StreamRole.Viewfinder]).at(0).formats
        return [
            {"format": str(pixel), "size": (size.width, size.height)}
            for pixel in formats.pixel_formats
            for size in formats.sizes(pixel)
        ]

    module.DmaAllocator = MemfdAllocator
    module.Picamera2._get_raw_modes = modes


sys.meta_path.insert(0, _Finder())
