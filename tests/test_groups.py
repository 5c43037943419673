"Groups, FGAseg and what masks teach by the commands: resumed to the last bit, on two processes as on one, evaluated, segmenting."
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mgca.data.scenes import SceneCaptions
from mgca.systems.grouping import Chance
from mgca.systems.registry import configure
from mgca.systems.saved import load_model
from mgca.train.loop import train as fit

BIN, ENV = Path(sys.executable).parent, dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1')
SMALL = ['embed=32', 'heads=2', 'depths=1,1,1', 'group_tokens=6,4,0', 'groups=6,4', 'hidden=32', 'cached_features=64', 'drop_path=0.2',
         'layers=2', 'eyes=own', 'top=5']
MORE = dict(groupvit=[*SMALL, 'nouns=2'], pgseg=[*SMALL, 'proto_hidden=32', 'text_protos=4', 'nouns=0'],
            fgaseg=['hidden=16', 'heads=2', 'layers=1', 'window=6', 'pad_len=8', 'texts=4', 'cached_features=64'],
            probe=['cached_features=64', 'supervision=masks'])

def train(name, out, *args, steps=8, batch=8, more=(), start=()):
    command = [*start, BIN/'mgca_train', '--system', name, '--size', 'mini', '--out', out, '--steps', steps, '--batch', batch, '--seed', 3,
               '--device', 'cpu', *args, '--set', *MORE[name], *more]
    return subprocess.Popen([str(a) for a in command], env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

def run(*args, **kw):
    p = train(*args, **kw)
    out, err = p.communicate(timeout=600)
    assert p.returncode == 0, err
    return out

def losses(out): return [json.loads(line)['loss'] for line in (out/'log.jsonl').read_text().splitlines()]

@pytest.fixture(scope='module', params=['groupvit', 'pgseg', 'fgaseg', 'probe'])
def whole(request, tmp_path_factory): # name, other settings, a run that was left alone
    name, out = request.param, tmp_path_factory.mktemp(request.param)/'whole'
    more = ['microbatches=3'] if name == 'groupvit' else []
    run(name, out, more=more)
    return name, more, out

def test_killed_and_resumed(whole, tmp_path):
    "Chance, pieces, running means, prototypes: the same weights to the last bit"
    name, more, alone = whole
    out, p = tmp_path/'run', train(name, tmp_path/'run', '--save-every', 2, more=more)
    until = time.time() + 240
    while not (out/'last/state.json').exists() and p.poll() is None and time.time() < until:
        time.sleep(.01)
    p.send_signal(signal.SIGKILL)
    p.communicate(timeout=120)
    run(name, out, '--resume', more=more)
    assert losses(out) == losses(alone) and len(losses(out)) == 8
    assert (out/'last/model.safetensors').read_bytes() == (alone/'last/model.safetensors').read_bytes()

def test_two_processes_equal_one(whole, tmp_path):
    name, _, _ = whole
    two = [BIN/'torchrun', '--standalone', '--nproc_per_node', '2', '--no-python']
    for k, start in dict(one=(), two=two).items():  # with so large an eps a step is as large as its gradient, and rounding stays rounding
        run(name, tmp_path/k, steps=3, more=['precision=fp32', 'lr=.1', 'eps=1.'], start=start)
    assert np.allclose(losses(tmp_path/'one'), losses(tmp_path/'two'), atol=1e-3)
    one, two = (load_file(tmp_path/n/'last/model.safetensors') for n in ('one', 'two'))
    assert set(one) == set(two)
    for k in one:
        torch.testing.assert_close(one[k], two[k], atol=1e-3, rtol=1e-3, msg=lambda m, k=k: f'{k}: {m}')

@pytest.mark.parametrize('name', ['groupvit', 'pgseg'])
def test_a_start_that_sees(name, tmp_path):
    "What the scenes start from is not saved, and is there again when the model is loaded; groups are in use from the first step"
    cfg = configure(system=name, size='mini', steps=2, batch=8, cached_features=16, seed=3)
    system, _ = fit(cfg, tmp_path/'run', progress=False)
    again, imgs = load_model(tmp_path/'run'), SceneCaptions(batch=4)[0][0]/255
    assert not any(k.startswith('eyes.') for k in load_file(tmp_path/'run/last/model.safetensors'))
    words = again.encode_text(['fox', 'snow', 'car'])
    s, ids = again.scores(imgs, words, 'group')
    torch.testing.assert_close(s, system.scores(imgs, words, 'group')[0])
    assert s.shape == (4, 3, 96, 96) and min(len(i.unique()) for i in ids) >= 2

def test_prototypes_move_in_training_only(whole):
    name, _, alone = whole
    model = load_model(alone)
    before = {k: v.clone() for k, v in model.named_buffers()}
    imgs = torch.rand(2, 3, 96, 96)
    model.scores(imgs, model.encode_text(['fox', 'snow']), 'group')
    for k, v in model.named_buffers():
        assert torch.equal(v, before[k]), k
    kept = [k for k in load_file(alone/'last/model.safetensors') if k.endswith('mu')]
    assert len(kept) == (3 if name == 'pgseg' else 0)
    if name == 'pgseg':
        with torch.no_grad():
            found = model.img_encoder(model.normalised(imgs), Chance())[1][0]['protos']
        torch.testing.assert_close(found.norm(dim=-1), torch.ones(2, 6), atol=1e-4, rtol=0)

def test_evaluated_and_segments(whole, tmp_path):
    kind, _, alone = whole
    def call(name, *args):
        return subprocess.run([str(a) for a in (BIN/name, *args)], env=ENV, text=True, capture_output=True, timeout=300)
    for unit in ('group', 'pixel', 'adaptive'):
        p = call('mgca_eval', '--data', 'scenes', '--model', alone, '--unit', unit, '--limit', 3, '--json', tmp_path/'e.json')
        assert p.returncode == 0, p.stderr
        assert json.loads((tmp_path/'e.json').read_text())['images'] == 3
    Image.fromarray(np.full((50, 70, 3), 90, np.uint8)).save(tmp_path/'a.png')
    p = call('mgca_segment', tmp_path/'a.png', '--classes', 'fox; grass', '--model', alone, '--out', tmp_path/'o')
    assert p.returncode == 0, p.stderr
    assert np.asarray(Image.open(tmp_path/'o/a.label.png')).shape == (50, 70)
    p = call('mgca_segment', tmp_path/'a.png', '--classes', 'fox', '--model', alone, '--features', 'maskclip', '--out', tmp_path/'o')
    if kind in ('fgaseg', 'probe'):  # frozen encoders of whatever kind are under it
        assert p.returncode == 0, p.stderr
    else:
        assert p.returncode == 1 and 'use decoder' in p.stderr
