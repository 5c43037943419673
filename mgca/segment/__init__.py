"""Photographs and words in, masks out. `mgca.segment` is this floor of the house, and a function as well:

    from mgca import segment
    segment('photo.jpg', ['dog', 'grass'])
"""
from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..systems.system import System
    from .masks import Segmentation
    from .photos import Photo


class _Floor(ModuleType):
    "A package that can be called: the shortest way from a photograph to masks"
    def __call__(self, img: Photo, class_names: Sequence[str], model: str | Path | System = 'tiny', **kw: Any) -> Segmentation:
        "See `mgca.segment.segmenter.segment`"
        from mgca.segment.segmenter import segment
        return segment(img, class_names, model, **kw)


sys.modules[__name__].__class__ = _Floor
