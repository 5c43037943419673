"""Photographs and words in, masks out. `mgca.segment` is this floor of the house, and a function as well:

    from mgca import segment
    segment('photo.jpg', ['dog', 'grass'])
"""
import sys
from types import ModuleType


class _Floor(ModuleType):
    "A package that can be called: the shortest way from a photograph to masks"
    def __call__(self, img, class_names, model='tiny', **kw):
        "See `mgca.segment.segmenter.segment`"
        from mgca.segment.segmenter import segment
        return segment(img, class_names, model, **kw)


sys.modules[__name__].__class__ = _Floor
