"The adaptive unit of encoders with grains, where people meet it: heads of older versions, defaults, backgrounds, photographs."
import json, os, shutil, subprocess, sys
from hashlib import sha256
from pathlib import Path
import numpy as np
import pytest, torch
from PIL import Image
from safetensors.torch import load_file, save_file
from mgca.core.base import UserError
from mgca.core.processes import Processes
from mgca.eval.evaluate import Predictor, scan
from mgca.eval.metrics import summarise
from mgca.eval.own import load_benchmark
from mgca.eval.protocols import PROTOCOLS, make_segmenter
from mgca.segment.segmenter import Segmenter
from mgca.systems.registry import build, configure
from mgca.systems.saved import load_model, save_model
from mgca.systems.system import Batch
from mgca.train.loop import train
from mgca.train.source import data_source

pytest.importorskip('efficientnet_lite_pytorch')
BIN, ROOT = Path(sys.executable).parent, Path(__file__).resolve().parent.parent
SHARED = next((p for p in (ROOT/'shared', ROOT.parent/'shared') if (p/'data/msrc21-dev').is_dir()), None)

@pytest.fixture(scope='module')
def lite(): return load_model('lite')

def call(name, *args):
    env = dict(os.environ, HF_HUB_OFFLINE='1')
    p = subprocess.run([BIN/name, *map(str, args)], capture_output=True, text=True, timeout=300, env=env)
    return p.returncode, p.stdout, p.stderr

def noise(h=60, w=90, seed=0): return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)

def stripped(folder): # of what heads of earlier versions lack
    weights = load_file(folder/'model.safetensors')
    save_file({k: v for k, v in weights.items() if not k.startswith('memory.')}, folder/'model.safetensors')
    return weights

def test_a_head_that_has_kept_nothing(lite, tmp_path):
    "Heads of earlier versions hold no moments and no words: nothing is taken from a word, and background is the threshold's"
    save_model(lite, tmp_path/'old')
    weights = stripped(tmp_path/'old')
    old, names = load_model(tmp_path/'old'), ['dog', 'sky']
    text = lite.encode_text(names)
    assert old.memory.steps == 0 and not old.memory.offsets(text).any() and lite.memory.offsets(text).all()
    seg, notes = make_segmenter(old, ['background', *names], PROTOCOLS['native'], features='decoder', unit='adaptive')
    assert (seg.background, seg.threshold, len(seg.text)) == ('tcl', .5, 2) and 'is a guess here' in notes[0]
    seg, notes = make_segmenter(lite, ['background', *names], PROTOCOLS['native'], features='decoder', unit='adaptive')
    assert (seg.background, seg.threshold, len(seg.text) > 100) == ('captions', .4, True) and not notes
    with pytest.raises(UserError, match='lite has kept no words'):
        Segmenter(old, names, background='captions')
    save_file(weights | {'memory.else': torch.zeros(1)}, tmp_path/'old/model.safetensors')
    with pytest.raises(UserError, match='memory.else is not part of it'):
        load_model(tmp_path/'old')

def test_a_run_goes_on_with_its_memory(tmp_path):
    "Saved and taken up again, also where an earlier version has saved it"
    cfg = configure(model='lite', system='image', data='scenes', steps=6, batch=8, cached_features=64, w_distill=0.)
    source = data_source(build(cfg), progress=False)
    def run(out, **kw): return train(cfg, tmp_path/out, source, progress=False, save_every=3, **kw)[0]
    whole = run('whole')
    for out in ('half', 'old'):
        shutil.copytree(tmp_path/'whole/step-00000003', tmp_path/out/'last')
    half = run('half', resume=True)
    assert half.memory.steps == whole.memory.steps == 6 and torch.equal(half.memory.moment, whole.memory.moment)
    assert torch.equal(half.memory.words, whole.memory.words) and whole.memory.words.any()
    last = tmp_path/'old/last'
    stripped(last)
    sums = json.loads((last/'checksums.json').read_text())
    sums['model.safetensors'] = sha256((last/'model.safetensors').read_bytes()).hexdigest()
    (last/'checksums.json').write_text(json.dumps(sums))
    old = run('old', resume=True)
    assert old.memory.steps == 3 and torch.equal(old.memory.words, whole.memory.words)

def test_who_is_sharpened(lite):
    tiny, names = load_model('tiny'), ['dog', 'sky']
    def used(model, **kw): return Segmenter(model, names, **kw).refine
    assert (used(lite), used(lite, unit='pixel'), used(lite, unit='group'), used(lite, refine='pamr')) == ('sharp', 'none', 'none', 'pamr')
    assert (used(tiny), used(tiny, refine='sharp')) == ('none', 'sharp')
    for system, settings in dict(groupvit={}, pgseg={}, fgaseg={}, lite_fgaseg=dict(model='lite', w_distill=0.)).items():
        model = build(configure(system=system.removeprefix('lite_'), **settings)).eval()
        seg = Segmenter(model, names, background='auto')
        assert (seg.refine, seg.background, model.memory) == ('none', 'tcl', None), system
        assert seg(noise()).labels.shape == (60, 90)
    assert make_segmenter(lite, names, PROTOCOLS['tcl448'], features='decoder', unit='adaptive')[0].refine == 'none'
    with pytest.raises(UserError, match='tiny has kept no words'):
        Segmenter(tiny, names, background='captions')

KINDS = {}, dict(background='captions'), dict(window=224, stride=112), dict(scales=(.5, 1.), flip=True), dict(size=64)

@pytest.mark.parametrize('kw', KINDS)
def test_any_size_and_together(lite, kw):
    seg = Segmenter(lite, ['dog', 'sky', 'tree'], **{'size': 224, **kw})
    imgs = [noise(), noise(1, 1), noise(90, 60, 1), noise(60, 90, 2)]
    alone = [seg(img) for img in imgs]
    seg.batch = 2
    for i, found in seg.several(imgs):
        assert found.labels.shape == imgs[i].shape[:2] and found.scores.isfinite().all()
        assert (found.labels == alone[i].labels).mean() > .99

def test_moments_do_not_depend_on_processes():
    "Two processes with half of the images each note what one notes of all"
    torch.manual_seed(0)
    imgs = torch.rand(4, 3, 64, 64)
    one, two = (build(configure(model='lite', system='image')) for _ in range(2))
    batch = Batch(one.frozen(imgs), [['dog'], ['sky'], ['dog'], ['tree']])
    rows = one(one.prepare(batch, Processes()))
    class Both(Processes):
        def __call__(self, mine): return torch.cat([mine, rows['places'][2:]])
    one.after_step(rows, Processes())
    two.after_step({k: v[:2] for k, v in rows.items()}, Both())
    assert torch.equal(one.memory.moment, two.memory.moment) and one.memory.steps == two.memory.steps == 1

def test_commands(tmp_path):
    Image.fromarray(noise()).save(tmp_path/'a.png')
    words = '--classes', 'dog; sky', '--background', 'captions'
    code, out, err = call('mgca_segment', tmp_path/'a.png', *words, '--model', 'lite', '--out', tmp_path/'o')
    assert code == 0 and not err, err
    for k, folder in enumerate(('images', 'labels')):
        (tmp_path/folder).mkdir()
        Image.fromarray(noise()[..., 0] % 3 if k else noise()).save(tmp_path/folder/'a.png')
    (tmp_path/'classes.txt').write_text('background\ndog\nsky\n')
    args = '--data', 'folder', '--root', tmp_path, '--json', tmp_path/'r.json'
    words = 'captions, threshold 0.4, lift 3.3'
    for model, refine, background in (('lite', 'sharp', words), ('tiny', 'none', .5)):
        code, out, err = call('mgca_eval', *args, '--model', model, '--table', tmp_path/f'{model}.md')
        assert code == 0, err
        r = json.loads((tmp_path/'r.json').read_text())
        assert (r['config']['refine'], r['config']['background']) == (refine, background)
        assert f'{refine}, background {background}' in out
    (tmp_path/'classes.txt').write_text('cat\ndog\nsky\n')  # the same rules on a set without a background: one table
    code, out, err = call('mgca_eval', *args, '--model', 'lite', '--background', 'auto', '--table', tmp_path/'lite.md')
    assert code == 0, err
    assert '| sharp |' in (tmp_path/'lite.md').read_text()
    code, out, err = call('mgca_segment', tmp_path/'a.png', '--classes', 'dog', '--background', 'captions', '--out', tmp_path/'o')
    assert code == 1 and len(err.splitlines()) == 1 and 'tiny has kept no words of its captions' in err

@pytest.mark.skipif(SHARED is None, reason='no shared photographs here')
@pytest.mark.parametrize('name,gain', [('msrc21', .04), ('camvid', .04)])
def test_better_than_pixels_on_photographs(lite, name, gain):
    "Photographs at even places only, on which choices were made; the whole sets are in nbs/results/photos.json"
    dataset, found = load_benchmark('folder', str(SHARED/f'data/{name}-dev')), {}
    for unit in ('pixel', 'adaptive'):
        seg, _ = make_segmenter(lite, dataset.class_names, PROTOCOLS['native'], features='decoder', unit=unit)
        r = scan(Predictor(seg, dataset.class_names), dataset, range(0, 48, 2), progress=False)
        found[unit] = summarise(r['conf'], dataset.class_names)['miou'], np.nanmean([f for *_, f in r['images']])
    assert found['adaptive'][0] > found['pixel'][0] + gain
    assert found['adaptive'][1] > 2*found['pixel'][1]
