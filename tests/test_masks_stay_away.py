"Masks reach a system that declares that it learns from them, and no other."
import numpy as np
import pytest
import torch

from mgca.core.base import UserError
from mgca.data import scenes
from mgca.systems.registry import SYSTEMS, build, configure
from mgca.train.source import data_source

torch.set_num_threads(1)
SIZES = dict(embed=32, heads=2, depths=(1, 1, 1), group_tokens=(6, 4, 0), groups=(6, 4), hidden=32, proto_hidden=16, text_protos=4,
             out=16, text_width=16, text_heads=1, text_layers=1, patch=8)
SUPERVISED = [n for n, e in SYSTEMS.items() if hasattr(e.cls.Config(), 'supervision')]

@pytest.fixture
def asked(monkeypatch): # calls of the scenes' generator of masks
    calls, make = [], scenes.scene_labels
    def watched(plan):
        calls.append(plan)
        return make(plan)
    monkeypatch.setattr(scenes, 'scene_labels', watched)
    return calls

def source_of(name, kept, *settings): # a small system of that name, where its batches come from
    fields = vars(SYSTEMS[name].cls.Config())
    small = {k: v for k, v in SIZES.items() if k in fields}
    cfg = configure([*settings, f'cached_features={kept}'], **{**small, 'system': name, 'batch': 8, 'image_size': 96})
    system = build(cfg)
    return system, data_source(system, progress=False)

def tensors_in(thing): # every tensor and array in a batch or a dict of arrays, by name
    if isinstance(thing, (torch.Tensor, np.ndarray)):
        return {'': thing}
    inside = thing if isinstance(thing, dict) else vars(thing) if hasattr(thing, '__dict__') else {}
    return {f'{k}.{n}': t for k, v in inside.items() for n, t in tensors_in(v).items()}

@pytest.mark.parametrize('kept', [300, 0], ids=['kept', 'streamed'])
@pytest.mark.parametrize('name', list(SYSTEMS))
def test_no_system_sees_masks_unasked(asked, name, kept):
    system, source = source_of(name, kept)
    assert 'masks' not in system.needs
    batch = source.batch(0, 8, 0)
    assert batch.masks is None and batch.class_names is None
    found = dict(tensors_in(batch), **tensors_in(getattr(source, 'kept', {})))
    size = (96, 96)
    assert not [k for k, t in found.items() if t.ndim == 3 and tuple(t.shape[-2:]) == size], found.keys()
    assert not asked  # and nobody made any

@pytest.mark.parametrize('kept', [300, 0], ids=['kept', 'streamed'])
@pytest.mark.parametrize('name', SUPERVISED)
def test_a_supervised_run_sees_them(asked, kept, name):
    system, source = source_of(name, kept, 'supervision=masks')
    batch = source.batch(0, 8, 0)
    assert batch.masks.shape == (8, 96, 96) and batch.masks.dtype == torch.uint8 and len(batch.class_names) == 244
    assert asked and [len(p) for p in batch.split(2)] == [4, 4] and batch.split(2)[1].masks.equal(batch.masks[4:])

@pytest.mark.parametrize('name', SUPERVISED)
def test_no_other_data_have_masks(tmp_path, name):
    from PIL import Image
    for i in range(4):
        Image.new('RGB', (96, 96), (60*i, 90, 90)).save(tmp_path/f'{i}.png')
        (tmp_path/f'{i}.txt').write_text('a fox in the snow')
    for kept in (4, 0):
        with pytest.raises(UserError, match='captions and no masks') as e:
            source_of(name, kept, 'supervision=masks', f'data={tmp_path}')
        assert '\n' not in str(e.value)
