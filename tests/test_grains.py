"The adaptive unit of encoders with grains, where people meet it: heads of older versions, defaults, backgrounds, photographs."
import json, os, subprocess, sys
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

def test_a_head_that_has_kept_nothing(lite, tmp_path):
    "Heads of earlier versions hold no moments and no words: nothing is taken from a word, and background is the threshold's"
    save_model(lite, tmp_path/'old')
    weights = load_file(tmp_path/'old/model.safetensors')
    save_file({k: v for k, v in weights.items() if not k.startswith('seen.')}, tmp_path/'old/model.safetensors')
    old, text = load_model(tmp_path/'old'), lite.encode_text(['dog', 'sky'])
    assert old.seen.steps == 0 and not old.seen.offsets(text).any() and lite.seen.offsets(text).all()
    assert Segmenter(old, ['dog', 'sky'], background='captions')(noise()).labels.shape == (60, 90)
    save_file(weights | {'seen.else': torch.zeros(1)}, tmp_path/'old/model.safetensors')
    with pytest.raises(UserError, match='seen.else is not part of it'):
        load_model(tmp_path/'old')

def test_who_is_sharpened(lite):
    tiny, names = load_model('tiny'), ['dog', 'sky']
    def used(model, **kw): return Segmenter(model, names, **kw).refine
    assert (used(lite), used(lite, unit='pixel'), used(lite, unit='group'), used(lite, refine='pamr')) == ('sharp', 'none', 'none', 'pamr')
    assert (used(tiny), used(tiny, refine='sharp')) == ('none', 'sharp')
    assert make_segmenter(lite, names, PROTOCOLS['tcl448'], features='decoder', unit='adaptive')[0].refine == 'none'
    with pytest.raises(UserError, match='tiny has kept no words'):
        Segmenter(tiny, names, background='captions')

@pytest.mark.parametrize('kw', [{}, dict(background='captions'), dict(window=224, stride=112), dict(scales=(.5, 1.), flip=True), dict(size=64)])
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
        def __call__(self, mine): return rows['places']
    one.after_step(rows, Processes())
    two.after_step({k: v[:2] for k, v in rows.items()}, Both())
    assert torch.equal(one.seen.moment, two.seen.moment) and one.seen.steps == two.seen.steps == 1

def test_commands(tmp_path):
    Image.fromarray(noise()).save(tmp_path/'a.png')
    code, out, err = call('mgca_segment', tmp_path/'a.png', '--classes', 'dog; sky', '--model', 'lite', '--background', 'captions', '--out', tmp_path/'o')
    assert code == 0 and not err, err
    for k, folder in enumerate(('images', 'labels')):
        (tmp_path/folder).mkdir()
        Image.fromarray(noise()[..., 0] % 3 if k else noise()).save(tmp_path/folder/'a.png')
    (tmp_path/'classes.txt').write_text('background\ndog\nsky\n')
    args = '--data', 'folder', '--root', tmp_path, '--json', tmp_path/'r.json'
    for model, refine, background in (('lite', 'sharp', 'captions'), ('tiny', 'none', .5)):
        code, out, err = call('mgca_eval', *args, '--model', model, '--table', tmp_path/f'{model}.md')
        assert code == 0, err
        r = json.loads((tmp_path/'r.json').read_text())
        assert (r['config']['refine'], r['config']['background']) == (refine, background)
        assert f'{refine}, background {background}' in out
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
