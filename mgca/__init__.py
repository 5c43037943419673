"Open-vocabulary semantic segmentation learned from image-caption pairs: `from mgca import segment, load_model, configure`"
__version__ = "0.2.0"

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what editors and type checkers see
    from .core.base import UserError
    from .segment.segmenter import Segmenter, segment
    from .systems.config import TrainConfig
    from .systems.registry import configure, register
    from .systems.saved import load_model, save_model
    from .systems.system import Batch, System

# Names a person types, and where they live. They are imported when they are first used: `import mgca` alone loads nothing.
_PUBLIC = dict(load_model='systems.saved', save_model='systems.saved', configure='systems.registry', register='systems.registry',
               System='systems.system', Batch='systems.system', TrainConfig='systems.config', Segmenter='segment.segmenter',
               UserError='core.base')

def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib import import_module
    return getattr(import_module(f'mgca.{_PUBLIC[name]}'), name)

def __dir__():
    return sorted({*globals(), *_PUBLIC, 'segment'})
