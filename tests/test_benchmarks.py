"The eight benchmarks in miniature, worked out by hand, and `mgca_eval` as a user meets it."
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from mgca.eval.evaluate import Predictor, evaluate, run_one
from mgca.core.base import UserError
from mgca.segment.refine import window_starts
from mgca.segment.masks import rle_counts, rle_string
from mgca.eval.metrics import confusion, iou_of, summarise
from mgca.eval.own import HFBenchmark, load_benchmark
from mgca.eval.prepare import prepare_benchmark
from mgca.eval.protocols import PROTOCOLS, label_map, make_segmenter, settle
from mgca.eval.readers import ROWS, open_benchmark
from mgca.eval.labels import class_names, facts
from mgca.systems.config import TrainConfig
from mgca.systems.saved import load_model
from mgca.systems.system import System

ROOT = Path(__file__).resolve().parent.parent
SHARED = next((p for p in (ROOT.parent/'shared', ROOT/'shared') if p.is_dir()), None)
BIN = Path(sys.executable).parent
ENV = dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', MPLBACKEND='agg')
TWO = [BIN/'torchrun', '--standalone', '--nproc-per-node', '2', '--no-python']

def call(*args, name='mgca_eval', before=()):
    p = subprocess.run([*before, BIN/name, *map(str, args)], env=ENV, text=True, capture_output=True, timeout=600)
    return p.returncode, p.stdout, p.stderr

def fails(words, *args):
    code, _, err = call(*args)
    lines = [l for l in err.splitlines() if l.strip()]
    assert code != 0 and len(lines) == 1 and words in err, err

def save(path, a):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(a)).save(path)

def photo(path, k):
    save(path, np.full((2, 4, 3), 40*k + 20))  # its brightness says which image it is

def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

# ---- the eight, 2 x 4 pixels an image, in their official layouts

def draw_voc(root):
    base = root/'VOCdevkit/VOC2012'
    maps = dict(a=[[0, 0, 1, 1], [0, 0, 1, 255]], b=[[0, 0, 20, 20], [0, 0, 20, 20]])
    for k, (name, labels) in enumerate(maps.items()):
        photo(base/f'JPEGImages/{name}.jpg', k)
        save(base/f'SegmentationClass/{name}.png', labels)
    photo(base/'JPEGImages/not-in-val.jpg', 5)
    write(base/'ImageSets/Segmentation/val.txt', 'a\nb\n')

def draw_context(root):
    base = root/'VOCdevkit/VOC2010'
    def note(image, category, mask):
        counts = rle_string(rle_counts(np.array(mask, bool)))
        return dict(image_id=image, category_id=category, segmentation=dict(size=[2, 4], counts=counts))
    for k, name in enumerate(('a', 't')):
        photo(base/f'JPEGImages/{name}.jpg', k)
    images = [dict(image_id=1, file_name='a.jpg', height=2, width=4, phase='val'),
              dict(image_id=2, file_name='t.jpg', height=2, width=4, phase='train')]
    aeroplane, wood = note(1, 2, [[0, 0, 1, 1], [0, 0, 1, 1]]), note(1, 458, [[0, 0, 0, 0], [0, 0, 1, 1]])
    notes = [aeroplane, wood]  # wood over its lower half
    write(base/'trainval_merged.json', json.dumps(dict(images=images, annos_segmentation=notes)))

def draw_coco(root):
    photo(root/'coco_stuff164k/images/val2017/a.jpg', 0)
    save(root/'coco_stuff164k/annotations/val2017/a.png', [[0, 0, 12, 91], [89, 255, 181, 10]])

def draw_cityscapes(root):
    photo(root/'cityscapes/leftImg8bit/val/ulm/ulm_0_leftImg8bit.png', 0)
    save(root/'cityscapes/gtFine/val/ulm/ulm_0_gtFine_labelIds.png', [[7, 7, 8, 0], [24, 33, 3, 23]])

def draw_ade(root):
    photo(root/'ade/ADEChallengeData2016/images/validation/a.jpg', 0)
    save(root/'ade/ADEChallengeData2016/annotations/validation/a.png', [[0, 1, 1, 2], [150, 150, 150, 0]])

DRAW = dict(voc21=draw_voc, voc20=draw_voc, context60=draw_context, context59=draw_context,
            coco_object=draw_coco, coco_stuff=draw_coco, cityscapes=draw_cityscapes, ade20k=draw_ade)

# predictions, IoU by hand as {class: (intersection, union)}; classes that are neither there nor predicted are left out
BY_HAND = dict(
    # 7 is predicted on an ignored pixel only
    voc21=([[[0, 1, 1, 1], [0, 0, 1, 7]], [[0, 0, 0, 0], [0, 0, 20, 20]]],
           {0: (7, 10), 1: (3, 4), 20: (2, 4)}),
    # reduce zero: aeroplane is 0, what was 0 is ignored
    voc20=([[[5, 0, 0, 0], [5, 5, 0, 5]], [[3, 3, 19, 3], [3, 3, 19, 19]]],
           {0: (3, 3), 3: (0, 1), 19: (3, 4)}),
    context60=([[[0, 0, 1, 1], [0, 1, 59, 0]]], {0: (3, 5), 1: (2, 3), 59: (1, 2)}),
    context59=([[[9, 9, 0, 58], [9, 9, 58, 58]]], {0: (1, 2), 58: (2, 3)}),
    # ids 91, 181 and 255 are background; id 12 is class 12 because 11 is a gap
    coco_object=([[[1, 1, 12, 0], [80, 0, 1, 0]]], {0: (2, 4), 1: (2, 3), 11: (0, 1), 12: (1, 1), 80: (1, 1)}),
    # 255 is ignored
    coco_stuff=([[[0, 10, 11, 80], [79, 5, 170, 10]]],
                {0: (1, 2), 10: (1, 2), 11: (1, 1), 79: (1, 1), 80: (1, 1), 170: (1, 1)}),
    # ids 0 and 3 are ignored
    cityscapes=([[[0, 1, 1, 0], [11, 18, 2, 18]]], {0: (1, 2), 1: (1, 2), 10: (0, 1), 11: (1, 1), 18: (1, 2)}),
    ade20k=([[[7, 0, 1, 1], [149, 149, 3, 7]]], {0: (1, 2), 1: (1, 2), 3: (0, 1), 149: (2, 3)}))

MIOU = dict(voc21=.65, voc20=7/12, context60=53/90, context59=7/12,
            coco_object=19/30, coco_stuff=5/6, cityscapes=1/2, ade20k=5/12)

@pytest.mark.parametrize('key', ROWS)
def test_miniature_by_hand(tmp_path, key):
    DRAW[key](tmp_path)
    report = prepare_benchmark(key, tmp_path)
    assert report['converted'] == {'': 0}.get(ROWS[key].raw_end, 1) + ('Context' in ROWS[key].title)
    assert prepare_benchmark(key, tmp_path)['converted'] == 0
    dataset, (preds, by_hand) = open_benchmark(key, tmp_path), BY_HAND[key]
    assert len(dataset) == len(preds) == report['images'] and len(dataset.class_names) == ROWS[key].classes
    result = evaluate(lambda img: np.array(preds[int(img.mean())//40]), dataset)
    found = {c: v for c, v in result['iou'].items() if v is not None}
    assert found == {dataset.class_names[c]: round(i/u, 6) for c, (i, u) in by_hand.items()}
    assert abs(result['miou'] - MIOU[key]) < 1e-12
    assert abs(result['miou'] - np.mean([i/u for i, u in by_hand.values()])) < 1e-12

@pytest.mark.parametrize('key, base', [
    ('voc21', 'VOCdevkit/VOC2012'), ('context60', 'VOCdevkit'), ('coco_object', 'coco_stuff164k'),
    ('cityscapes', 'cityscapes'), ('ade20k', 'ade/ADEChallengeData2016')])
def test_root_may_be_the_folder_or_above_it(tmp_path, key, base):
    DRAW[key](tmp_path)
    assert prepare_benchmark(key, tmp_path/base)['images'] == prepare_benchmark(key, tmp_path)['images']
    if key in ('voc21', 'context60'):
        draw_voc(tmp_path), draw_context(tmp_path)  # the two years beside each other
        with pytest.raises(UserError, match='no '):
            prepare_benchmark(key, tmp_path/'VOCdevkit'/{'voc21': 'VOC2010', 'context60': 'VOC2012'}[key])

def test_coco_as_its_archives_unpack(tmp_path):
    photo(tmp_path/'val2017/a.jpg', 0)
    with pytest.raises(UserError, match='unpack there the labels'):
        prepare_benchmark('coco_stuff', tmp_path)
    save(tmp_path/'stuffthingmaps/val2017/a.png', [[0, 0, 12, 91], [89, 255, 181, 10]])
    assert prepare_benchmark('coco_stuff', tmp_path)['converted'] == 1
    assert open_benchmark('coco_stuff', tmp_path)[0][2].tolist() == [[0, 0, 11, 80], [79, 255, 170, 10]]

# ---- the metric

def test_equals_torchmetrics_and_sklearn():
    from sklearn.metrics import confusion_matrix
    from torchmetrics.classification import MulticlassConfusionMatrix
    g = torch.Generator().manual_seed(0)
    gt, pred = torch.randint(0, 150, (4, 97, 131), generator=g), torch.randint(0, 150, (4, 97, 131), generator=g)
    pred = torch.where(torch.rand(gt.shape, generator=g) < .6, gt, pred)
    gt = torch.where(torch.rand(gt.shape, generator=g) < .1, 255, gt)
    ours = sum(confusion(p, t, 150) for p, t in zip(pred, gt))  # streamed
    keep = gt != 255
    theirs = confusion_matrix(gt[keep], pred[keep], labels=range(150))
    assert (ours[:, :150].numpy() == theirs).all()
    by_sklearn = np.diag(theirs)/(theirs.sum(0) + theirs.sum(1) - np.diag(theirs))
    assert np.abs(iou_of(ours).numpy() - by_sklearn).max() < 1e-9
    by_torchmetrics = MulticlassConfusionMatrix(150, ignore_index=255)
    for p, t in zip(pred, gt):
        by_torchmetrics.update(p[None], t[None])
    assert (by_torchmetrics.compute() == ours[:, :150]).all()
    assert abs(summarise(ours, map(str, range(150)))['miou'] - by_sklearn.mean()) < 1e-9

def test_obvious_values(tmp_path):
    draw_voc(tmp_path)
    data = open_benchmark('voc21', tmp_path)
    truth = {int(img.mean())//40: labels for _, img, labels in data}
    right = evaluate(lambda img: truth[int(img.mean())//40], data)
    assert (right['miou'], right['pixel_acc'], right['boundary_f'], right['interval']) == (1., 1., 1., [1., 1.])
    nothing = evaluate(lambda img: np.zeros(img.shape[:2], int), data)
    assert nothing['miou'] == pytest.approx((8/15 + 0 + 0)/3) and nothing['pixel_acc'] == pytest.approx(8/15)
    assert nothing['iou']['aeroplane'] == 0 and nothing['iou']['bird'] is None

# ---- sliding windows, end to end

def test_window_starts():
    sides = {448: [0], 449: [0, 1], 597: [0, 149], 672: [0, 224], 896: [0, 224, 448]}
    assert {n: window_starts(n, 448, 224) for n in sides} == sides

@pytest.fixture(scope='module')
def tiny(): return load_model('tiny')

def test_tcl448_windows_are_averaged_exactly(tiny, monkeypatch):
    "Each window scores its own first column; a pixel's score is then the mean over the windows that hold it"
    seg, _ = make_segmenter(tiny, ['background', 'fox', 'snow'], PROTOCOLS['tcl448'], features='maskclip', unit='pixel')
    seen = []
    def score(x):
        seen.append(tuple(x.shape[-2:]))
        return torch.full((2, 448, 448), float(len(seen))), torch.zeros(448, 448, dtype=torch.long)
    monkeypatch.setattr(seg, 'window_scores', score)
    s, _ = seg.scores(np.zeros((375, 500, 3), np.uint8))  # 448 x 597: windows at 0 and 149
    assert seen == [(448, 448)]*2 and s.shape == (2, 448, 597)
    assert [s[0, 0, i].item() for i in (0, 148, 149, 447, 448, 596)] == [1, 1, 1.5, 1.5, 2, 2]

def test_constant_model_gives_a_constant_map(tiny):
    for name, level in dict(tcl448=1/(1 + np.exp(2.5)), sclip336=1/2).items():  # TCL's first bias; one of two
        seg, _ = make_segmenter(tiny, ['fox', 'snow'], PROTOCOLS[name], features='maskclip', unit='pixel')
        seg.text = torch.zeros_like(seg.text)  # every cosine is zero
        labels, best = label_map(seg, np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8))
        assert labels.unique().tolist() == [0] and best.max() - best.min() < 1e-6
        assert abs(best.mean().item() - level) < 1e-5

def test_background_constant_of_tcl448(tiny):
    img = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    names = ['background', 'fox', 'snow', 'sea']
    for refine, constant in (('none', .5), ('pamr', .4)):
        seg, _ = make_segmenter(tiny, names, PROTOCOLS['tcl448'], features='maskclip', unit='pixel', refine=refine)
        labels, best = label_map(seg, img)
        assert (Predictor(seg, names)(img) == torch.where(best < constant, 0, labels + 1)).all()

# ---- any system, by its interface alone

class Brightness(System):
    "Words are levels of grey; no encoder, no decoder, nothing to learn"
    stride = 4
    LEVELS = dict(sky=1., road=.5, night=0.)
    def encode_text(self, class_names, templates=None, normalise_first=False):
        return torch.tensor([[self.LEVELS[c]] for c in class_names])
    def scores(self, imgs, text_emb, unit='adaptive', features='decoder', read=None, x=None):
        places = F.avg_pool2d(imgs.mean(1, keepdim=True), self.stride)
        fit = 1 - (places - text_emb[None, :, :, None]).abs()  # (B,C,h,w)
        return fit if read is None else read(fit, fit.mean((2, 3))), torch.zeros(len(imgs), *places.shape[2:]).long()

class Grey:
    name, split, class_names = 'grey', 'test', ['background', 'road', 'sky']
    def __len__(self): return 2
    def __getitem__(self, i):
        if i > 1:
            raise IndexError(i)
        gt = np.repeat([0, 1 + i], [16, 16])[None].repeat(32, 0)
        return str(i), np.uint8([0, 128, 255])[gt][..., None].repeat(3, -1), gt

def test_any_system_can_be_evaluated():
    toy = Brightness(TrainConfig(model='toy'))
    choices = dict(features='decoder', unit='pixel', refine='none')
    for name in PROTOCOLS:
        rules = settle(name, dict(background=.75) if name == 'native' else {})
        r = run_one(Grey(), 'grey', toy, rules, choices, asked=name == 'native')
        assert (r['images'], r['config']['encoder'], r['config']['model_config']['model']) == (2, 'toy', 'toy')
        assert r['miou'] == 1 or name != 'native', r['iou']
        assert any('kp 0.3 left out' in n for n in r['notes']) == (name == 'tcl448')
        assert not any('is a guess' in n for n in r['notes'])
    toy.calibrated = False
    r = run_one(Grey(), 'grey', toy, settle('native', dict(background=.75)), choices)
    assert any('0.75 is a guess' in n for n in r['notes'])

# ---- names and published numbers

@pytest.mark.skipif(SHARED is None or not (SHARED/'spec/classnames.json').exists(), reason='no shared folder here')
def test_names_are_those_of_the_specification():
    spec = json.loads((SHARED/'spec/classnames.json').read_text())
    assert sorted(map(str, facts()['names'].values())) == sorted(map(str, spec.values()))
    assert {k: class_names(k) for k in ROWS} == facts()['names']

# ---- errors that name the file and the remedy

def test_errors_name_the_file(tmp_path):
    def refuses(words, f):
        with pytest.raises(UserError) as e:
            f()
        assert words in str(e.value) and '\n' not in str(e.value), e.value
    refuses(f'{tmp_path}: no VOC21 here', lambda: load_benchmark('voc21', tmp_path))
    refuses('nowhere is no folder', lambda: load_benchmark('voc21', tmp_path/'nowhere'))
    draw_voc(tmp_path)
    base = tmp_path/'VOCdevkit/VOC2012'
    mask = base/'SegmentationClass/b.png'
    def data(names=''):
        return list(load_benchmark('voc21', tmp_path, names=names))
    save(mask, [[0, 77, 20, 20], [0, 0, 20, 20]])
    refuses(f'{mask} holds label 77', data)
    save(mask, [[0, 20, 20], [0, 0, 20]])
    refuses(f'{mask} is 3 x 2 pixels, its image {base}/JPEGImages/b.jpg 4 x 2', data)
    save(mask, np.zeros((2, 4, 3)))
    refuses(f'{mask} is a colour picture', data)
    mask.write_bytes(b'PNG')
    refuses(f'{mask}: not a label map', data)
    mask.unlink()
    refuses(f'{mask} is missing; run mgca_eval prepare voc21', data)
    write(tmp_path/'ade.txt', '\n'.join(class_names('ade20k')))
    save(mask, [[0, 0, 20, 20]]*2)
    refuses('ade.txt names 150 classes, but VOC21 has 21', lambda: data(tmp_path/'ade.txt'))
    write(base/'ImageSets/Segmentation/val.txt', '\n')
    refuses(f'{base}/ImageSets/Segmentation/val.txt names no images: the split val is empty', data)
    (base/'ImageSets/Segmentation/val.txt').unlink()
    refuses('val.txt is missing', data)
    draw_coco(tmp_path)
    refuses('a_labelTrainIds.png is missing; run mgca_eval prepare coco_stuff',
            lambda: load_benchmark('coco_stuff', tmp_path))
    save(tmp_path/'coco_stuff164k/annotations/val2017/a.png', [[11]])
    refuses('a.png holds label 11', lambda: prepare_benchmark('coco_stuff', tmp_path))

# ---- the command

def test_all_eight(tmp_path):
    "prepare all, evaluate all, one table; every record complete"
    for f in dict.fromkeys(DRAW.values()):
        f(tmp_path)
    code, out, err = call('prepare', 'all', '--root', tmp_path)
    assert code == 0, err
    part = 'the complete set has 5104 or 5105; this is a part of it'
    assert f'context60: 1 images ({part}), 1 label maps converted' in out and 'context59: 1 images' in out
    code, out, err = call('prepare', 'all', '--root', tmp_path)
    assert code == 0 and out.count(' 0 label maps converted') == 8
    args = ['--all', '--root', tmp_path, '--features', 'maskclip', '--unit', 'pixel', '--size', 32,
            '--json', tmp_path/'all.json', '--table', tmp_path/'all.md']
    code, out, err = call(*args)
    assert code == 0, err
    r = json.loads((tmp_path/'all.json').read_text())
    assert list(r['benchmarks']) == list(ROWS) and r['missing'] == r['failed'] == {} and r['images'] == 10
    assert r['miou'] == pytest.approx(np.mean([b['miou'] for b in r['benchmarks'].values()]))
    assert 'mean of 8' in out
    voc = r['benchmarks']['voc21']
    assert {'miou', 'pixel_acc', 'iou', 'images', 'protocol', 'protocol_hash', 'config', 'seconds',
            'versions', 'interval', 'boundary_f', 'run_hash', 'notes'} <= set(voc)
    assert voc['iou']['bird'] is None and voc['protocol_hash'] in out and any('1449' in n for n in voc['notes'])
    assert voc['config']['rules']['size'] == 32 and voc['config']['background'] == .5
    assert r['benchmarks']['voc20']['config']['background'] is None
    table = (tmp_path/'all.md').read_text()
    assert voc['protocol_hash'] in table and table.count('| **tiny') == 1
    shutil.rmtree(tmp_path/'ade')
    (tmp_path/'cityscapes/gtFine/val/ulm/ulm_0_gtFine_labelTrainIds.png').unlink()
    code, out, err = call(*args)
    r = json.loads((tmp_path/'all.json').read_text())
    assert code == 1 and '1 benchmarks failed' in err and 'labelTrainIds.png is missing' in err  # not prepared
    assert list(r['missing']) == ['ade20k'] and 'ade20k: missing' in out
    assert r['miou'] is None and len(r['benchmarks']) == 6

def test_tcl448_as_a_user_runs_it(tmp_path):
    draw_voc(tmp_path)
    voc21 = ['--data', 'voc21', '--root', tmp_path]
    choices = ['--features', 'maskclip', '--unit', 'pixel', '--table', tmp_path/'t.md']
    code, out, err = call(*voc21, *choices, '--protocol', 'tcl448', '--json', tmp_path/'r.json', '--sweep')
    assert code == 0, err
    r = json.loads((tmp_path/'r.json').read_text())
    rules = r['config']['rules']
    assert [rules[k] for k in ('size', 'window', 'stride', 'cap')] == [448, 448, 224, 2048]
    assert len(rules['prompts']) == 9 and r['config']['background'] == .5
    assert r['protocol_hash'] in out and 'kp 0.3 left out' in out
    assert 'warning: tuned on test data' in out and r['sweep']['warning'] and len(r['sweep']['miou']) == 101
    assert r['sweep']['miou'][50] == pytest.approx(r['miou'], abs=1e-12)
    table = (tmp_path/'t.md').read_text()
    assert '| TCL (CC3M+CC12M) | PAMR | 55.0 | 30.4 |' in table and 'SCLIP' not in table
    assert '**tiny, maskclip, pixel**' in table
    fails('never share a table', *voc21, *choices, '--protocol', 'sclip336')

@pytest.mark.parametrize('protocol', ['groupvit448', 'sclip336'])
def test_other_protocols(tmp_path, protocol):
    draw_voc(tmp_path)
    code, out, err = call('--data', 'voc21', '--root', tmp_path, '--protocol', protocol, '--features', 'sclip',
                          '--unit', 'pixel', '--limit', 1, '--json', tmp_path/'r.json')
    assert code == 0, err
    assert json.loads((tmp_path/'r.json').read_text())['protocol'] == protocol and protocol in out

def test_refusals(tmp_path):
    draw_voc(tmp_path)
    voc20 = ['--data', 'voc20', '--root', tmp_path]
    fails('--window 224 contradicts protocol tcl448', *voc20, '--protocol', 'tcl448', '--window', 224)
    fails('voc20 has no background class', *voc20, '--background', .4)
    fails('unknown protocol', *voc20, '--protocol', 'tcl')
    fails('no single background threshold', *voc20, '--sweep')
    fails('no ADE20K here', '--data', 'ade20k', '--root', tmp_path)
    code, _, err = call('prepare', 'ade20k', '--root', tmp_path)
    assert code == 1 and err.startswith('mgca_eval prepare: ') and 'ADEChallengeData2016.zip' in err
    code, out, _ = call('prepare', '--help')
    assert code == 0 and 'mgca_eval prepare' in out and '--root' in out

def test_native_flags_are_in_the_hash(tmp_path):
    draw_voc(tmp_path)
    hashes = set()
    for k, flags in enumerate(([], ['--window', 48, '--stride', 24], ['--kp', .3], ['--scales', '1,1.5', '--flip'])):
        code, _, err = call('--data', 'voc20', '--root', tmp_path, '--unit', 'pixel', '--size', 64, *flags,
                            '--json', tmp_path/f'{k}.json')
        assert code == 0, err
        hashes.add(json.loads((tmp_path/f'{k}.json').read_text())['protocol_hash'])
    assert len(hashes) == 4

def test_batches_give_nearly_the_number_of_one_by_one(tmp_path):
    draw_voc(tmp_path)
    scenes = ['--limit', 7, '--features', 'maskclip']
    voc = ['--data', 'voc21', '--root', tmp_path, '--protocol', 'groupvit448']
    for args in (scenes, voc):
        found = []
        for batch in (1, 3):
            code, _, err = call(*args, '--device', 'cpu', '--batch', batch, '--json', tmp_path/'r.json')
            assert code == 0, err
            found.append(json.loads((tmp_path/'r.json').read_text()))
        a, b = found
        assert abs(a['miou'] - b['miou']) < 2e-3 and a['images'] == b['images'] and a['run_hash'] == b['run_hash']
    fails('--batch must be at least 1', *scenes, '--batch', 0)

def test_two_processes_give_the_number_of_one(tmp_path):
    args = ['--data', 'scenes', '--features', 'maskclip', '--unit', 'pixel', '--limit', 7, '--device', 'cpu']
    code, _, err = call(*args, '--json', tmp_path/'one.json')
    assert code == 0, err
    code, out, err = call(*args, '--json', tmp_path/'two.json', before=TWO)
    assert code == 0, err
    one, two = (json.loads((tmp_path/f'{n}.json').read_text()) for n in ('one', 'two'))
    assert two['config'].pop('processes') == 2 and one['config'].pop('processes') == 1
    for r in (one, two):
        del r['seconds'], r['clock']
    assert one == two and out.count('mIoU') == 1  # exactly, interval and boundaries included; one report

def test_error_in_one_process_ends_all(tmp_path):
    draw_voc(tmp_path)
    save(tmp_path/'VOCdevkit/VOC2012/SegmentationClass/b.png', [[77, 0, 0, 0]]*2)  # the second process meets it
    code, _, err = call('--data', 'voc21', '--root', tmp_path, '--features', 'maskclip', '--device', 'cpu', before=TWO)
    assert code != 0 and 'b.png holds label 77' in err

def test_interrupted_conversion_goes_on(tmp_path):
    "Killed in the middle: what is there is whole, the next run does the rest, the one after it nothing"
    maps, n = tmp_path/'coco_stuff164k/annotations/val2017', 400
    labels = np.random.default_rng(0).choice([0, 12, 91, 255], (480, 640))
    save(maps/'0.png', labels)
    for k in range(n):
        photo(tmp_path/f'coco_stuff164k/images/val2017/{k}.jpg', 0)
        if k:
            (maps/f'{k}.png').write_bytes((maps/'0.png').read_bytes())
    p = subprocess.Popen([BIN/'mgca_eval', 'prepare', 'coco_object', '--root', tmp_path], env=ENV,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(1200):
        if len(list(maps.glob('*_instanceTrainIds.png'))) >= 20:
            break
        time.sleep(.05)
    p.send_signal(signal.SIGKILL)
    p.wait()
    done = [f for f in maps.glob('*_instanceTrainIds.png') if not f.name.startswith('.')]
    assert 20 <= len(done) < n
    for f in done:
        assert np.asarray(Image.open(f)).shape == (480, 640)
    assert prepare_benchmark('coco_object', tmp_path)['converted'] == n - len(done)
    assert prepare_benchmark('coco_object', tmp_path)['converted'] == 0
    assert len(open_benchmark('coco_object', tmp_path)) == n

# ---- data sets of one's own

def make_folder(root, classes=('background', 'grass', 'sky')):
    for k in range(2):
        save(root/f'images/{k}.png', np.random.default_rng(k).integers(0, 255, (40, 60, 3)))
        save(root/f'labels/{k}.png', np.random.default_rng(k).integers(0, len(classes), (40, 60)))
    write(root/'classes.txt', '\n'.join(classes))

def test_folder_with_background(tmp_path):
    make_folder(tmp_path/'own')
    code, out, err = call('--data', 'folder', '--root', tmp_path/'own', '--features', 'maskclip', '--background', .45,
                          '--json', tmp_path/'r.json', '--table', tmp_path/'t.md')
    assert code == 0, err
    assert json.loads((tmp_path/'r.json').read_text())['config']['background'] == .45
    assert '| own |' in (tmp_path/'t.md').read_text()
    (tmp_path/'own/labels/1.png').unlink()
    fails('labels/1.png is missing', '--data', 'folder', '--root', tmp_path/'own')

def test_threshold_of_a_model_without_calibration_is_a_guess(tmp_path):
    pytest.importorskip('efficientnet_lite_pytorch')
    make_folder(tmp_path/'own')
    args = ['--data', 'folder', '--root', tmp_path/'own', '--model', 'lite', '--unit', 'pixel',
            '--json', tmp_path/'r.json']
    for flags, guess in (([], True), (['--background', 'wall; floor'], False)):
        code, out, err = call(*args, *flags)
        assert code == 0, err
        notes = json.loads((tmp_path/'r.json').read_text())['notes']
        assert any('is a guess here' in n for n in notes) == ('is a guess here' in out) == guess, notes

def test_hugging_face_data_sets(tmp_path):
    import datasets
    make_folder(tmp_path/'own')
    names = tmp_path/'own/classes.txt'
    folder = tmp_path/'pictures'  # the imagefolder form: pictures and a table
    for k in range(2):
        for kind in ('images', 'labels'):
            (folder/'test'/kind).mkdir(parents=True, exist_ok=True)
            (folder/'test'/kind/f'{k}.png').write_bytes((tmp_path/'own'/kind/f'{k}.png').read_bytes())
    rows = ['file_name,mask_file_name', *(f'images/{k}.png,labels/{k}.png' for k in range(2))]
    write(folder/'test/metadata.csv', '\n'.join(rows) + '\n')
    parquet = tmp_path/'parquet'
    parquet.mkdir()
    def bits(kind):
        return [dict(bytes=(tmp_path/f'own/{kind}/{k}.png').read_bytes(), path=None) for k in range(2)]
    kinds = datasets.Features(picture=datasets.Image(), annotation=datasets.Image())
    ds = datasets.Dataset.from_dict(dict(picture=bits('images'), annotation=bits('labels')), features=kinds)
    ds.to_parquet(parquet/'validation.parquet')
    truth = load_benchmark('folder', tmp_path/'own')
    for spec in (f'{folder}:test', str(parquet)):
        data = HFBenchmark(spec, names)
        for (_, i, l), (_, j, m) in zip(data, truth):
            assert (i == j).all() and (l == m).all()
    code, _, err = call('--data', f'hf:{parquet}:validation', '--names', names, '--features', 'maskclip',
                        '--json', tmp_path/'r.json')
    assert code == 0, err
    assert json.loads((tmp_path/'r.json').read_text())['images'] == 2
    write(tmp_path/'one.txt', 'sky')
    with pytest.raises(UserError, match='holds label 2'):
        list(HFBenchmark(str(parquet), tmp_path/'one.txt'))

@pytest.mark.skipif(SHARED is None or not (SHARED/'data/msrc21-dev').is_dir(), reason='no shared photographs here')
@pytest.mark.parametrize('protocol, limit', [('native', 3), ('tcl448', 1)])
def test_real_photographs(tmp_path, protocol, limit):
    code, out, err = call('--data', 'folder', '--root', SHARED/'data/msrc21-dev', '--features', 'maskclip',
                          '--unit', 'pixel', '--protocol', protocol, '--limit', limit, '--json', tmp_path/'r.json')
    assert code == 0, err
    assert json.loads((tmp_path/'r.json').read_text())['images'] == limit
