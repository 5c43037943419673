"What photos come in, what a batch of them does, what it costs in memory, what is left when somebody stops it."
import io, json, os, resource, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
import pytest, torch
import torch.nn.functional as F
from PIL import Image
import mgca.segment.files as files
import mgca.segment.masks as masks
import mgca.segment.photos as photos
import mgca.segment.refine as refine
import mgca.segment.segmenter as segmenter
from mgca.core.base import UserError
from mgca.systems.registry import build, configure
from mgca.systems.saved import load_model

BIN = Path(sys.executable).parent
ENV = dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1')

@pytest.fixture(scope='module')
def seg(): return segmenter.Segmenter(load_model('tiny'), ['fox', 'grass', 'snow'])

def noise(*size, seed=0): return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
def ramp(h, w): return np.linspace(0, 255, h*w).reshape(h, w)
def save(img, path, **kw):
    img.save(path, **kw)
    return path

def write_kinds(d):
    "Every kind of file that must work: name -> (H,W)"
    rgb, frames = noise(40, 60, 3), [Image.fromarray(noise(40, 60, 3, seed=i)) for i in range(3)]
    exif = Image.Exif()
    exif[274] = 8
    pal = Image.fromarray(rgb).quantize(16)
    save(Image.fromarray(rgb[..., 0]), d/'grey.jpg')
    save(pal, d/'palette.png')
    save(pal, d/'clear.png', transparency=3)
    save(Image.fromarray(noise(40, 60, 4)), d/'rgba.png')
    save(Image.fromarray(noise(40, 60, 2)), d/'la.png')
    save(Image.fromarray(rgb).convert('CMYK'), d/'cmyk.jpg')
    save(Image.fromarray(rgb).convert('CMYK'), d/'cmyk.tif')
    save(Image.fromarray((257*ramp(40, 60)).astype(np.uint16)), d/'deep.png')
    save(Image.fromarray((257*ramp(40, 60)).astype(np.uint16)), d/'deep.tif')
    save(Image.fromarray(ramp(40, 60).astype(np.float32)/255), d/'float.tif')
    save(Image.fromarray(rgb[..., 0] > 99), d/'bits.png')
    save(Image.fromarray(noise(60, 40, 3)), d/'lying.jpg', exif=exif)
    for name in ('animated.gif', 'animated.webp'):
        save(frames[0], d/name, save_all=True, append_images=frames[1:], lossless=True)
    return {p.name: (40, 60) for p in d.iterdir()}

def test_kinds(tmp_path, seg):
    for name, size in write_kinds(tmp_path).items():
        img = photos.read_image(tmp_path/name)
        assert img.shape == (*size, 3) and img.dtype == np.uint8, name
        assert seg(tmp_path/name).labels.shape == size, name
    grey = np.round(ramp(40, 60))
    for name in ('deep.png', 'deep.tif', 'float.tif'):
        assert abs(photos.read_image(tmp_path/name)[..., 0] - grey).max() <= 1, name
    assert abs(photos.read_image(tmp_path/'animated.webp').astype(int) - noise(40, 60, 3)).max() == 0  # the first frame
    first = Image.open(tmp_path/'animated.gif').convert('RGB')
    assert (photos.read_image(tmp_path/'animated.gif') == np.asarray(first)).all()
    white = photos.read_image(tmp_path/'clear.png')[np.asarray(Image.open(tmp_path/'clear.png')) == 3]
    assert len(white) and (white == 255).all()

def test_lying_photos_stand_up(tmp_path):
    img = np.zeros((40, 60, 3), np.uint8)
    img[:, :30] = 255  # its left half is white
    for code, place in {1: np.s_[:, 0], 3: np.s_[:, -1], 6: np.s_[0], 8: np.s_[-1]}.items():
        exif = Image.Exif()
        exif[274] = code
        save(Image.fromarray(img), tmp_path/'a.png', exif=exif)
        assert (photos.read_image(tmp_path/'a.png')[place] == 255).all(), code

@pytest.mark.parametrize('h,w', [(1, 1), (7, 5000), (5000, 7), (4000, 6000)])
def test_sizes(seg, tmp_path, h, w):
    tile = noise(min(h, 40), min(w, 50), 3)
    path = save(Image.fromarray(np.tile(tile, (max(1, h//40), max(1, w//50), 1))[:h, :w]), tmp_path/'a.png', compress_level=1)
    out = seg(path)
    assert out.labels.shape == (h, w) and abs(sum(m.mean() for m in out.masks().values()) - 1) < 1e-6

def png_header(w, h): # a PNG that claims a size
    import struct, zlib
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    head = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, 8, 2, 0, 0, 0))
    return head + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')

def write_bad(d):
    "Every kind of file that must fail: name -> what the line must say"
    whole = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(whole, 'JPEG')
    (d/'cut.jpg').write_bytes(whole.getvalue()[:1500])
    (d/'words.jpg').write_text('not an image')
    (d/'nothing.png').write_bytes(b'')
    (d/'warned.png').write_bytes(png_header(10000, 10000))
    (d/'bomb.png').write_bytes(png_header(30000, 30000))
    (d/'empty').mkdir()
    save(Image.new('RGB', (8, 8)), d/'eps.jpg', format='EPS')
    os.mkfifo(d/'pipe.jpg')
    return {'cut.jpg': 'damaged or cut short', 'words.jpg': 'not an image', 'nothing.png': 'not an image',
            'warned.png': '10000 x 10000 pixels; at most 89,478,485', 'bomb.png': 'at most 89,478,485',
            'eps.jpg': 'not an image', 'pipe.jpg': 'a pipe or a device', 'gone.jpg': 'no such file', 'empty': 'holds no photos'}

@pytest.mark.filterwarnings('error')
def test_bad_files(tmp_path):
    for name, says in write_bad(tmp_path).items():
        with pytest.raises(UserError) as e:
            photos.read_image(tmp_path/name)
        assert name in str(e.value) and says in str(e.value) and '\n' not in str(e.value)

def test_locked_folder(tmp_path, monkeypatch):
    (tmp_path/'locked').mkdir()
    save(Image.fromarray(noise(9, 9, 3)), tmp_path/'locked'/'a.png')
    (tmp_path/'locked').chmod(0)
    if os.geteuid() == 0:
        monkeypatch.setattr(photos.os, 'access', lambda *a: False)  # root may read everything
    try:
        assert photos.find_photos([tmp_path/'locked']) == [tmp_path/'locked']
        with pytest.raises(UserError, match='cannot be read; check its permissions'):
            photos.read_image(tmp_path/'locked')
    finally:
        (tmp_path/'locked').chmod(0o755)

def call(*args):
    p = subprocess.run([BIN/'mgca_segment', *map(str, args)], env=ENV, text=True, capture_output=True, timeout=600)
    return p.returncode, p.stdout, p.stderr

def test_command_goes_on(tmp_path):
    "Good and bad together, the same name twice, all new flags at once"
    bad = write_bad(tmp_path)
    (tmp_path/'more').mkdir()
    for name in ('good.png', 'more/good.jpg'):
        save(Image.fromarray(noise(60, 90, 3)), tmp_path/name)
    flags = ['--kp', .3, '--window', 48, '--stride', 24, '--scales', '1,1.5', '--refine', 'pamr', '--background', 'tcl',
             '--format', 'coco', '--size', 64, '--batch', 4]
    given = [*[tmp_path/n for n in bad], tmp_path/'good.png', tmp_path/'more']
    code, out, err = call(*given, '--classes', 'fox; grass|lawn', '--out', tmp_path/'o', *flags)
    lines = [l for l in err.splitlines() if l.strip()]
    assert code == 1 and len(lines) == 1 and f'{len(bad)} of {len(bad) + 2} photos failed' in lines[0]
    for name, says in bad.items():
        assert name in err and says in err
    assert [l.split(':')[0] for l in out.splitlines()] == ['good.png', 'good.jpg -> good-2']
    assert sorted(os.listdir(tmp_path/'o')) == sorted(f'{n}{e}' for n in ('good', 'good-2') for e in files.endings('coco'))
    made = json.loads((tmp_path/'o/good-2.json').read_text())
    assert made['size'] == [90, 60] and made['photo'].endswith('good.jpg') and set(made['classes']) == {'fox', 'grass|lawn'}
    code, out, err = call(tmp_path/'good.png', '--classes', 'fox', '--out', tmp_path/'p')
    assert code == 0 and err == ''  # no bar where nobody looks
    code, _, err = call(tmp_path/'empty', '--classes', 'fox', '--out', tmp_path/'p')
    assert code == 1 and 'holds no photos' in err

def test_more_classes_than_a_palette_holds(tmp_path):
    "Above 255 classes the labels need 16 bits, and 255 is a class like any other"
    seg = segmenter.Segmenter(load_model('tiny'), [f'thing {i}' for i in range(300)], unit='pixel', background=.5)
    img = noise(96, 96, 3)
    found = F.one_hot(torch.arange(144).view(12, 12) + 156, 300).permute(2, 0, 1).float()
    seg.window_scores = lambda x: (found, torch.zeros(12, 12).long())
    out = seg(img)
    assert out.labels[0, 0] == 156 and out.labels[-1, -1] == 299 and (out.labels == 65535).any()
    files.save_segmentation(out, tmp_path/'a', format='coco')
    assert (np.asarray(Image.open(tmp_path/'a.label.png')) == out.labels).all()
    assert len(out.masks()) == 144 and 'and 125 more' in out._repr_html_()

@pytest.mark.parametrize('kw', [{}, dict(window=64, stride=32, refine='pamr'), dict(unit='group', scales=(.5, 1.), flip=True)])
def test_lite_encoders(kw):
    "A pair without a shared space: any size, windows and views work, knowledge preservation is refused"
    pytest.importorskip('efficientnet_lite_pytorch')
    model = build(configure(model='lite')).eval()
    for h, w in ((1, 1), (90, 211)):
        assert segmenter.segment(noise(h, w, 3), ['dog', 'grass'], model, size=96, **kw).labels.shape == (h, w)
    with pytest.raises(UserError, match='training-free features to preserve'):
        segmenter.Segmenter(model, ['dog'], kp=.3)

def test_coco_agrees(seg):
    coco = pytest.importorskip('pycocotools.mask')
    out = seg(noise(70, 50, 3))
    for i, share in enumerate((0, .003, .1, .5, .997, 1)):
        mask = np.random.default_rng(i).random((211, 333)) < share
        counts = masks.rle_string(masks.rle_counts(mask))
        assert coco.encode(np.asfortranarray(mask.astype(np.uint8)))['counts'].decode() == counts
        assert (coco.decode(dict(size=[211, 333], counts=counts.encode())) == mask).all()
    for note in out.coco()['annotations']:
        assert coco.area(note['segmentation']) == note['area']
        assert coco.toBbox(note['segmentation']).tolist() == note['bbox']

def test_pamr_compiled():
    "The same numbers from one compiled round; eager by default, since compiling takes longer than most sets of photos"
    imgs, soft = torch.rand(1, 3, 16, 16), torch.rand(1, 4, 16, 16)
    compiled = torch.compile(refine.pamr_round, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(refine.pamr(imgs, soft, 2, (1, 2), step=compiled), refine.pamr(imgs, soft, 2, (1, 2)))

# VmHWM, not getrusage: on Linux ru_maxrss survives exec, so a child would report the peak of the pytest process that started it
MANY = '''
import sys, numpy as np
from mgca.segment.segmenter import Segmenter
from mgca.systems.saved import load_model
names = [f'thing {i}' for i in range(300)]
window = dict(unit='pixel', window=224, stride=112, kp=.3, background='tcl')
kw = dict(whole={}, pixel=dict(unit='pixel'), window=window, views=dict(scales=(1., 1.25), flip=True))[sys.argv[1]]
seg = Segmenter(load_model('tiny'), names, size=448, refine='pamr', **kw)
out = seg(np.random.default_rng(0).integers(0, 256, (750, 1000, 3), dtype=np.uint8))
assert out.labels.shape == (750, 1000) and len(out.scores) == 300
print(next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))/2**20)
'''

@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='peak memory is read from /proc')
@pytest.mark.parametrize('how', ['whole', 'pixel', 'window', 'views'])  # the pixel unit leaves no class out, so PAMR refines all 300
def test_300_classes_in_4_gib(how):
    t0 = time.time()
    p = subprocess.run([sys.executable, '-W', 'ignore', '-c', MANY, how], env=ENV, text=True, capture_output=True)
    assert p.returncode == 0, p.stderr
    print(f'{how}: {float(p.stdout):.2f} GiB at most, {time.time() - t0:.0f} s')
    assert float(p.stdout) < 4

BIG = MANY.replace("size=448, refine='pamr', ", '').replace('(750, 1000', '(4000, 6000')

@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='peak memory is read from /proc')
def test_24_megapixels_in_4_gib():
    p = subprocess.run([sys.executable, '-W', 'ignore', '-c', BIG, 'whole'], env=ENV, text=True, capture_output=True)
    assert p.returncode == 0, p.stderr
    print(f'24 megapixels, 300 classes: {float(p.stdout):.2f} GiB at most')
    assert float(p.stdout) < 4

PEAK = '''
import sys
from mgca.segment.command import main
sys.argv[0] = 'mgca_segment'
main()
print(next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM'))/2**20, file=sys.stderr)
'''

@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='peak memory is read from /proc')
@pytest.mark.parametrize('mode', ['RGB', 'I;16'])
def test_88_megapixels_in_one_and_a_half_gib(tmp_path, mode):
    "Of which the libraries take more than half: nothing of the photo's size is ever made of floats"
    small = Image.fromarray(noise(94, 94, 3)) if mode == 'RGB' else Image.fromarray(257*noise(94, 94).astype(np.uint16))
    save(small.resize((9400, 9400), Image.Resampling.NEAREST), tmp_path/'big.png', compress_level=1)
    args = [tmp_path/'big.png', '--classes', 'fox; grass; snow', '--unit', 'pixel', '--model', 'tiny', '--out', tmp_path/'o']
    p = subprocess.run([sys.executable, '-W', 'ignore', '-c', PEAK, *map(str, args)], env=ENV, text=True, capture_output=True)
    assert p.returncode == 0, p.stderr
    peak = float(p.stderr.split()[-1])
    print(f'9400 x 9400 pixels, {mode}: {peak:.2f} GiB at most')
    assert peak < 1.5
    assert json.loads((tmp_path/'o/big.json').read_text())['size'] == [9400, 9400]

@pytest.mark.parametrize('x,says', [(torch.full((3, 4, 4), 200.), 'divide by 255'), (torch.full((3, 4, 4), -1.), 'undo its normalisation'),
                                    (torch.full((3, 4, 4), torch.nan), 'NaN'), (torch.full((3, 4, 4), -torch.inf), 'infinite')])
def test_tensors_out_of_range(seg, x, says):
    with pytest.raises(UserError, match=says) as e:
        seg(x)
    assert '\n' not in str(e.value)

def test_a_name_taken_twice(tmp_path):
    "With annotations a.png and a.coco.png would both write a.coco.json"
    for name in ('a.png', 'a.coco.png'):
        save(Image.fromarray(noise(30, 40, 3)), tmp_path/name)
    code, out, err = call(tmp_path, '--classes', 'fox', '--format', 'coco', '--out', tmp_path/'o')
    assert code == 0, err
    assert len(os.listdir(tmp_path/'o')) == 8
    found = [json.loads(path.read_text()) for path in (tmp_path/'o').glob('*.json')]
    assert sorted(Path(f['photo']).name for f in found if 'photo' in f) == ['a.coco.png', 'a.png']
    assert sorted(f['images'][0]['file_name'] for f in found if 'images' in f) == ['a.coco.png', 'a.png']

def test_nobodys_own_files(tmp_path):
    "Into the photos' own folder: what others wrote stays, what an earlier run wrote is replaced"
    for name in ('a.png', 'b.png', 'c.png', 'd.png'):
        save(Image.fromarray(noise(30, 40, 3)), tmp_path/name)
    theirs = {'a.json': '{"shapes": []}', 'b.json': 'no json at all', 'c.label.png': 'drawn by hand'}
    for name, text in theirs.items():
        (tmp_path/name).write_text(text)
    given = [tmp_path/f'{n}.png' for n in 'abcd']
    for _ in range(2):
        code, out, err = call(*given, '--classes', 'fox', '--out', tmp_path)
        assert code == 0, err
        assert [l.split(':')[0] for l in out.splitlines()] == ['a.png -> a-2', 'b.png -> b-2', 'c.png -> c-2', 'd.png']
        assert {name: (tmp_path/name).read_text() for name in theirs} == theirs
        assert len(os.listdir(tmp_path)) == 4 + 3 + 4*3

def test_files_that_cannot_be_written(tmp_path):
    "A folder in the way, no room: that photo is reported, nothing of it stays, and the later ones are done"
    for name, h in (('folder.png', 30), ('full.png', 600), ('good.png', 30)):
        save(Image.fromarray(noise(h, h, 3)), tmp_path/name)
    (tmp_path/'o/folder.json').mkdir(parents=True)
    def little_room(): resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    args = [BIN/'mgca_segment', *(tmp_path/f'{n}.png' for n in ('folder', 'full', 'good')), '--classes', 'fox', '--out', tmp_path/'o']
    p = subprocess.run([*map(str, args)], env=ENV, text=True, capture_output=True, preexec_fn=little_room)
    assert p.returncode == 1 and len(p.stderr.splitlines()) == 1 and '2 of 3 photos failed' in p.stderr
    assert 'folder.json is a folder' in p.stderr and 'File too large' in p.stderr
    assert sorted(os.listdir(tmp_path/'o')) == ['folder.json', 'good.json', 'good.label.png', 'good.overlay.png']

def test_a_name_of_244_bytes(tmp_path):
    for name in ('n'*244 + '.png', 'z.png'):
        save(Image.fromarray(noise(30, 40, 3)), tmp_path/name)
    code, out, err = call(tmp_path, '--classes', 'fox', '--out', tmp_path/'o')
    assert code == 1 and '1 of 2 photos failed' in err and 'File name too long' in err and len(err.splitlines()) == 1
    assert sorted(os.listdir(tmp_path/'o')) == ['z.json', 'z.label.png', 'z.overlay.png']

@pytest.mark.parametrize('signum,code', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_between_or_inside_photos(tmp_path, signum, code):
    "Whole sets or nothing, one line that says how far it came"
    for i in range(60):
        save(Image.fromarray(noise(700, 900, 3, seed=i)), tmp_path/f'p{i:02}.png', compress_level=1)
    args = [BIN/'mgca_segment', tmp_path, '--classes', 'fox; snow', '--out', tmp_path/'o', '--refine', 'pamr']
    p = subprocess.Popen([*map(str, args)], env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while p.poll() is None and not list((tmp_path/'o').glob('*.json')):
        time.sleep(.05)
    time.sleep(.3)
    p.send_signal(signum)
    p.send_signal(signum)  # as wrappers do
    out, err = p.communicate(timeout=60)
    done = len(out.splitlines())
    assert p.returncode == code, err
    assert len(err.splitlines()) == 1 and f'stopped, {done} of 60 photos are done' in err
    left = sorted(os.listdir(tmp_path/'o'))
    assert left == sorted(f'p{i:02}{e}' for i in range(len(left)//3) for e in files.endings('png'))
    assert 0 < done <= len(left)//3 <= done + 1  # the last set may be there before its line

def test_thresholds_of_models_that_are_not_calibrated(tmp_path):
    pytest.importorskip('efficientnet_lite_pytorch')
    save(Image.fromarray(noise(60, 90, 3)), tmp_path/'a.png')
    for model, background, lines in (('lite', '0.4', 1), ('lite', 'wall', 0), ('tiny', '0.4', 0)):
        code, _, err = call(tmp_path/'a.png', '--classes', 'fox', '--model', model, '--background', background, '--out', tmp_path/'o')
        assert code == 0 and len(err.splitlines()) == lines, err
        assert not lines or 'threshold of 0.4 is a guess' in err

class Toy:
    "All that a segmenter may know of a system: red places are 'red', others are not"
    stride, image_size, dense_size, dense_modes, name, calibrated = 4, 16, 32, (), 'toy', True
    device, mean, prompts = torch.device('cpu'), torch.zeros(3, 1, 1), 'simple'

    def encode_text(self, class_names, templates=None, normalise_first=False):
        return F.normalize(torch.tensor([[1., 0, 0] if name == 'red' else [0., 1, 1] for name in class_names]))

    def scores(self, imgs, text_emb, unit='adaptive', features='decoder', read=None, x=None):
        emb = F.normalize(F.avg_pool2d(imgs, 4), dim=1)
        cos = torch.einsum('bdhw,cd->bchw', emb, text_emb)
        units = torch.zeros(len(imgs), *cos.shape[-2:], dtype=torch.long)
        return read(cos, F.normalize(emb.mean((2, 3))) @ text_emb.T) if read else cos.clamp(0, 1), units

    def prior_scores(self, imgs, text_emb):
        raise UserError('toy has nothing to preserve; leave kp at 0')

@pytest.mark.parametrize('kw', [{}, dict(window=16, stride=8), dict(scales=(.5, 1.), flip=True, refine='pamr'), dict(background=['blue'])])
def test_any_system_will_do(kw):
    img = np.zeros((40, 60, 3), np.uint8)
    img[:, :30, 0] = 255
    img[:, 30:, 1:] = 255
    seg = segmenter.Segmenter(Toy(), ['red', 'cyan'], **kw)
    assert (seg(img).labels[:, :26] == 0).all() and (seg(img).labels[:, 34:] == 1).all()
    seg.batch = 2
    for i, found in seg.several([img, img[:, ::-1]]):
        assert (found.labels[:, 34:] == 1 - i).all()
    with pytest.raises(UserError, match='nothing to preserve'):
        segmenter.Segmenter(Toy(), ['red'], kp=.3)
    with pytest.raises(UserError, match='toy has no training-free features'):
        segmenter.Segmenter(Toy(), ['red'], features='maskclip')
