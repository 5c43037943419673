"Somebody's own system in forty lines: trained, killed, resumed, spread, evaluated and used by the commands, with nothing else touched."
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

TOY = '''
import zlib
import torch
import torch.nn as nn
import torch.nn.functional as F
from mgca.systems.registry import register
from mgca.systems.system import System

class Toy(System):
    "Patches through one convolution, sentences as bags of words, InfoNCE of their means"
    stride, image_size, dense_size = 8, 96, 96

    def __init__(self, cfg):
        super().__init__(cfg)
        self.look, self.words = nn.Sequential(nn.Conv2d(3, 32, 8, 8), nn.Dropout(.1 if cfg.seed == 7 else 0)), nn.EmbeddingBag(999, 32)
        self.register_buffer('seen', torch.zeros((), dtype=torch.long))

    def bag(self, sentences):
        ids = [[zlib.crc32(w.encode()) % 999 for w in s.split()] for s in sentences]
        return torch.tensor(sum(ids, [])), torch.tensor([0, *map(len, ids[:-1])]).cumsum(0)

    def forward(self, batch):
        text = self.words(*self.bag([' '.join(t) for t in batch.texts]))
        return dict(image=F.normalize(self.look(batch.x).mean((2, 3)), dim=1), text=F.normalize(text, dim=1))

    def loss(self, out, batch, progress, gather):
        sim = 10*gather(out['image']) @ gather(out['text']).T
        return dict(pairs=F.cross_entropy(sim, torch.arange(len(sim))))

    def after_step(self, out, gather): self.seen += len(gather(out['image']))

    def encode_text(self, class_names, templates=None, normalise_first=False):
        return F.normalize(self.words(*self.bag(class_names)), dim=1).detach()

    def scores(self, imgs, text_emb, unit='adaptive', features='decoder', read=None, x=None):
        s = torch.einsum('bdhw,cd->bchw', F.normalize(self.look(imgs), dim=1), text_emb)/2 + .5
        return s, torch.arange(s[0, 0].numel()).view(1, *s.shape[2:])

register('toy', Toy, 'a toy')
'''
BIN = Path(sys.executable).parent

@pytest.fixture(scope='module')
def env(tmp_path_factory):
    assert len(TOY.strip().splitlines()) <= 40
    folder = tmp_path_factory.mktemp('own')
    (folder/'toy.py').write_text(TOY)
    return dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', PYTHONPATH=str(folder), MGCA_SYSTEMS='toy')

def train(env, out, *args, seed=7, batch=8, steps=12, more=(), start=()):
    command = [*start, BIN/'mgca_train', '--system', 'toy', '--out', out, '--steps', steps, '--batch', batch, '--seed', seed,
               '--device', 'cpu', *args, '--set', 'lr=1e-3', *more]
    return subprocess.Popen([str(a) for a in command], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

def run(*args, **kw):
    p = train(*args, **kw)
    out, err = p.communicate(timeout=300)
    assert p.returncode == 0, err
    return out

def losses(out): return [json.loads(line)['loss'] for line in (out/'log.jsonl').read_text().splitlines()]

@pytest.fixture(scope='module')
def whole(env, tmp_path_factory):
    out = tmp_path_factory.mktemp('toy')/'whole'
    told = run(env, out, more=['microbatches=3'])
    assert 'stream' in told  # images are no features, so nothing is kept
    return out

def test_trains(whole):
    assert len(losses(whole)) == 12
    card = json.loads((whole/'run.json').read_text())
    assert card['config']['system'] == 'toy' and card['samples']['good'] >= 96
    assert load_file(whole/'last/model.safetensors')['seen'].item() == 96  # its buffer moved once an image, pieces or not

@pytest.mark.parametrize('kind', [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_resumed(env, whole, tmp_path, kind):
    "Dropout, pieces, a buffer: the same weights to the last bit"
    out, p = tmp_path/'run', train(env, tmp_path/'run', '--save-every', 2, more=['microbatches=3'])
    until = time.time() + 120
    while not (out/'last/state.json').exists() and p.poll() is None and time.time() < until:
        time.sleep(.01)
    p.send_signal(kind)
    _, err = p.communicate(timeout=120)
    if kind == signal.SIGTERM and p.returncode != 0:
        assert p.returncode == 143 and 'saved in' in err and len(err.strip().splitlines()) == 1, err
    run(env, out, '--resume', more=['microbatches=3'])
    assert losses(out) == losses(whole)
    assert (out/'last/model.safetensors').read_bytes() == (whole/'last/model.safetensors').read_bytes()

def test_two_processes_equal_one(env, tmp_path):
    run(env, tmp_path/'one', seed=3, steps=5, more=['precision=fp32'])
    two = [BIN/'torchrun', '--standalone', '--nproc_per_node', '2', '--no-python']
    run(env, tmp_path/'two', seed=3, steps=5, more=['precision=fp32'], start=two)
    assert np.allclose(losses(tmp_path/'one'), losses(tmp_path/'two'), atol=1e-5)
    one, two = (load_file(tmp_path/n/'last/model.safetensors') for n in ('one', 'two'))
    for k in one:
        torch.testing.assert_close(one[k], two[k], atol=1e-5, rtol=1e-4)

def test_evaluated_and_segments(env, whole, tmp_path):
    def call(name, *args):
        return subprocess.run([str(a) for a in (BIN/name, *args)], env=env, text=True, capture_output=True, timeout=300)
    p = call('mgca_eval', '--data', 'scenes', '--model', whole, '--limit', 3, '--json', tmp_path/'e.json')
    assert p.returncode == 0, p.stderr
    assert json.loads((tmp_path/'e.json').read_text())['images'] == 3
    Image.fromarray(np.full((50, 70, 3), 90, np.uint8)).save(tmp_path/'a.png')
    p = call('mgca_segment', tmp_path/'a.png', '--classes', 'fox; grass', '--model', whole, '--out', tmp_path/'o')
    assert p.returncode == 0, p.stderr
    assert np.asarray(Image.open(tmp_path/'o/a.label.png')).shape == (50, 70)
    env = {k: v for k, v in env.items() if k != 'MGCA_SYSTEMS'}
    bad = call('mgca_segment', tmp_path/'a.png', '--classes', 'fox', '--model', whole, '--out', tmp_path/'o')
    assert bad.returncode == 1 and "unknown system 'toy'" in bad.stderr and len(bad.stderr.strip().splitlines()) == 1
