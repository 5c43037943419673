"What a command loads: libraries that a model does not need are not waited for. No times here: `core/07_entry` shows them."
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

SCENE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
HEAVY = 'open_clip', 'torchvision', 'timm', 'scipy', 'transformers', 'sympy', 'torch._dynamo', 'matplotlib'
PROGRAM = '''
import sys
from mgca.core.entry import mgca_segment
mgca_segment()
print('loaded:', *[name for name in {heavy} if name in sys.modules])
'''

def loaded(folder, model, heavy): # names of `heavy` that a process has loaded which segments a photograph
    Image.fromarray(SCENE).save(folder/'photo.png')
    args = [folder/'photo.png', '--classes', 'dog;sky', '--model', model, '--out', folder/'out']
    env = dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1')
    p = subprocess.run([sys.executable, '-c', PROGRAM.format(heavy=heavy), *map(str, args)], env=env, capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    assert (folder/'out'/'photo.label.png').exists()
    return p.stdout.split('loaded:')[1].split()

@pytest.mark.parametrize('model', ['tiny', 'lite'])
def test_segmenting_loads_nothing_it_does_not_need(tmp_path, model):
    assert loaded(tmp_path, model, HEAVY) == []

def test_the_check_can_fail(tmp_path):
    assert loaded(tmp_path, 'tiny', ('torch', 'no_such_module')) == ['torch']
