"""Photographs, label maps, class lists, prompts, tables and flags of somebody who means no good, or was careless.

Every case ends with a result, a counted skip or one `UserError`. MGCA_EXAMPLES=300 feeds more random inputs to each reader."""
import io, json, os, signal, socket, struct, subprocess, sys, time, zlib
from pathlib import Path
import numpy as np
import pytest, torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from mgca.apps.quickstart import mgca_quickstart
from mgca.apps.speed import mgca_bench
from mgca.core.base import UserError
from mgca.core.command import run_command
from mgca.encoders.prompts import fill_prompts
from mgca.eval import labels, prepare, readers, tables
from mgca.eval.command import mgca_eval
from mgca.eval.own import FolderBenchmark
from mgca.segment import files, photos
from mgca.segment.command import mgca_segment
from mgca.segment.segmenter import Segmenter
from mgca.systems.saved import load_model

EXAMPLES = int(os.environ.get('MGCA_EXAMPLES', 40))
MOST_SECONDS, MOST_BYTES = 10, 2**30 # of a case; of memory beside what is there before (half a GiB in a process of its own)
ROOT = Path(__file__).resolve().parent.parent
ENV = dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', MPLBACKEND='agg', PYTHONPATH=str(ROOT))
SEEN = {} # reader -> [cases, refused, seconds of the slowest]
often = settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
                 suppress_health_check=list(HealthCheck))

def noise(*size, seed=0): return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)

def packed(img, format, **kw):
    buf = io.BytesIO()
    img.save(buf, format, **kw)
    return buf.getvalue()

def memory(key):
    line = next(row for row in Path('/proc/self/status').read_text().splitlines() if row.startswith(key))
    return int(line.split()[1])*1024

@pytest.fixture(autouse=True)
def bounded_memory():
    "The peak of each test, beside what the process had"
    try:
        Path('/proc/self/clear_refs').write_text('5')
    except OSError:
        yield  # not Linux, or not allowed
        return
    before = memory('VmRSS')
    yield
    assert memory('VmHWM') - before < MOST_BYTES

@pytest.fixture(scope='module', autouse=True)
def told():
    yield
    for name, (cases, refused, slowest) in SEEN.items():
        print(f'{name}: {cases} random inputs, {refused} refused, the slowest {slowest:.2f} s')

def survive(name, f, *args):
    "A result or one line; anything else fails"
    seen, t0 = SEEN.setdefault(name, [0, 0, 0.]), time.perf_counter()
    try:
        return f(*args)
    except UserError as e:
        seen[1] += 1
        assert str(e)
    finally:
        took = time.perf_counter() - t0
        seen[0], seen[2] = seen[0] + 1, max(seen[2], took)
        assert took < MOST_SECONDS, f'{name}: {took:.1f} s'

def resealed(data):
    "A PNG whose check sums fit again, so that damage reaches the decoder"
    if data[:8] != b'\x89PNG\r\n\x1a\n':
        return data
    out, at = data[:8], 8
    while at + 12 <= len(data):
        size = struct.unpack('>I', data[at:at + 4])[0]
        body = data[at + 4:at + 8 + size]
        out += data[at:at + 4] + body + struct.pack('>I', zlib.crc32(body))
        at += 12 + size
    return out + data[at:]

def wounded(data, seed):
    "Some bytes flipped, left out, doubled or cut off; half of the PNGs with check sums that fit"
    rng = np.random.default_rng(seed)
    for kind in rng.choice(['flip']*6 + ['insert', 'drop', 'cut'], rng.choice([1, 1, 1, 2, 5])):
        at, piece = int(rng.integers(len(data) + 1)), rng.choice([rng.bytes(4), rng.bytes(1), b'\1', b'\xff'])
        rest = data[at + len(piece):]
        data = data[:at] + dict(flip=piece + rest, insert=piece + data[at:], drop=rest, cut=b'')[str(kind)]
    return resealed(data) if rng.random() < .5 else data

def damaged(*valid):
    "Damaged forms of valid files, now and then any bytes"
    wounds = st.builds(wounded, st.sampled_from(valid), st.integers(0, 2**32 - 1))
    return st.one_of(wounds, wounds, wounds, st.binary(max_size=300))

def photo_kinds():
    rgb, exif = Image.fromarray(noise(24, 32, 3)), Image.Exif()
    exif[274] = 6
    found = [packed(rgb, 'JPEG', exif=exif), packed(rgb, 'JPEG', progressive=True), packed(rgb, 'PNG'), packed(rgb, 'BMP'),
             packed(rgb.quantize(9), 'PNG', transparency=3), packed(Image.fromarray(noise(24, 32).astype(np.uint16)), 'PNG'),
             packed(rgb.quantize(9), 'GIF', save_all=True, append_images=[rgb.quantize(4)]), packed(rgb, 'PPM'),
             packed(rgb, 'TIFF'), packed(rgb, 'TIFF', compression='tiff_lzw'), packed(rgb.convert('F'), 'TIFF'),
             packed(rgb.convert('CMYK'), 'TIFF', compression='jpeg')]
    Image.init()
    return found + [packed(rgb, f) for f in ('WEBP', 'JPEG2000', 'AVIF') if f in Image.SAVE]

@often
@given(damaged(*photo_kinds()))
def test_random_photographs(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp()/'any.jpg'
    path.write_bytes(data)
    img = survive('photograph', photos.read_image, path)
    assert img is None or img.dtype == np.uint8 and img.ndim == 3 and img.shape[2] == 3 and img.size

@often
@given(damaged(packed(Image.fromarray(noise(16, 20) % 5), 'PNG', compress_level=0), packed(Image.fromarray(noise(16, 20) % 5), 'BMP'),
               packed(Image.fromarray(noise(16, 20) % 5).quantize(5), 'PNG'), packed(Image.fromarray(noise(16, 20) % 5), 'GIF'),
               packed(Image.fromarray((noise(16, 20) % 5).astype(np.int32)), 'TIFF')))
def test_random_label_maps(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp()/'any.png'
    path.write_bytes(data)
    found = survive('label map', lambda: labels.to_classes(labels.read_labels(path), 5, path))
    assert found is None or found.dtype == np.int64 and ((found < 5) | (found == 255)).all() and (found >= 0).all()

@often
@given(damaged('background\nsofa|couch\ngraß\n'.encode(), 'wall\nTür\n'.encode('utf-8-sig'), 'wall\nTür\n'.encode('utf-16')))
def test_random_class_lists(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp()/'any.txt'
    path.write_bytes(data)
    found = survive('class list', lambda: fill_prompts(labels.read_names(path), 'plain'))
    assert found is None or '\ufeff' not in found[0][0]

def words(*more): return st.lists(st.text(min_size=1, max_size=12) | st.sampled_from(more), min_size=1, max_size=3)

@often
@given(words('fox', 'tv|television', '\udcff', None), words('{}', 'a {}.', 'no place', '{0}', '\udcff{}', None) | st.text(max_size=9))
def test_random_prompts(names, prompts):
    found = survive('prompts', fill_prompts, names, prompts)
    assert found is None or all(s.strip() in sentence for s, (sentence, *_) in zip((n.split('|')[0] for n in names), found) if s.isascii())

def folder(root, images=('a.png', 'b.jpg'), names=('fox', 'grass', 'snow')):
    for part in ('images', 'labels'):
        (root/part).mkdir(parents=True, exist_ok=True)
    (root/'classes.txt').write_text('\n'.join(names))
    for i, name in enumerate(images):
        Image.fromarray(noise(24, 32, 3, seed=i)).save(root/'images'/name)
        Image.fromarray(noise(24, 32, seed=i) % 3).save(root/'labels'/f'{Path(name).stem}.png')
    return root

@often
@given(st.data())
def test_random_benchmark_folders(tmp_path_factory, data):
    root = folder(tmp_path_factory.getbasetemp()/'set')
    path = root/data.draw(st.sampled_from(['classes.txt', 'images/a.png', 'images/b.jpg', 'labels/a.png', 'labels/b.png']))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    survive('benchmark folder', lambda: [FolderBenchmark(root)[i] for i in range(2)])

JSONS = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                     lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
                         ['size', 'photo', 'classes', 'images', 'annotations', 'categories', 'x']), inner, max_size=4), max_leaves=9)
OURS = dict(size=[3, 2], photo='a.png', classes={'fox': dict(index=0, area=1., score=.5)})

@often
@given(st.builds(lambda v: json.dumps(v).encode(), JSONS) | damaged(json.dumps(OURS).encode()), st.sampled_from(['png', 'coco']))
def test_random_files_of_earlier_runs(tmp_path_factory, data, format):
    stem = tmp_path_factory.getbasetemp()/'earlier'
    for end in ('.json', '.coco.json'):
        Path(f'{stem}{end}').write_bytes(data)
    assert survive('earlier JSON', files.may_write, stem, format) in (True, False)

RECORD = dict(miou=.5, images=3, complete=False, protocol='native', protocol_version=1, protocol_hash='abc', config=dict(set='own'))

def table(path):
    path.unlink(missing_ok=True)
    tables.write_table(path, dict(own=RECORD), 'tiny', '-')
    return path.read_bytes()

@often
@given(st.data())
def test_random_tables(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp()/'table.md'
    path.write_bytes(data.draw(damaged(table(path))))
    before = path.read_bytes()
    if survive('table', lambda: tables.write_table(path, dict(own=RECORD), 'tiny', '-') or True) is None:
        assert path.read_bytes() == before  # what is refused is left as it was

MERGED = dict(images=[dict(file_name='a.jpg', image_id=1, height=2, width=3, phase='val')],
              annos_segmentation=[dict(image_id=1, category_id=2, segmentation=dict(size=[2, 3], counts=[1, 2, 3]))])

def edited(part, key, value):
    "One value of the annotations is another"
    out = json.loads(json.dumps(MERGED))
    row = out[part][0]
    row.get('segmentation' if key in ('size', 'counts') else '', row)[key] = value
    return json.dumps(out).encode()

NUMBERS = st.integers() | st.sampled_from([[2, 3], [3, 2], [1, 5], [-1, 7], [10**12], '12', '04', '../x.jpg', 2**40, None])
EDITED = st.builds(edited, st.sampled_from([*MERGED]), st.sampled_from(
    ['file_name', 'image_id', 'height', 'width', 'phase', 'category_id', 'segmentation', 'size', 'counts']), NUMBERS | JSONS)

@often
@given(damaged(json.dumps(MERGED).encode()) | EDITED)
def test_random_annotations(tmp_path_factory, data):
    base = tmp_path_factory.mktemp('voc')
    (base/'trainval_merged.json').write_bytes(data)
    survive('trainval_merged.json', prepare.convert_context, base, 'context60', 'val')
    assert not [f for f in base.parent.rglob('*.png') if f.parent.name != 'SegmentationClassContext' and base in f.parents]

@often
@given(damaged(b'2007_000033\n2007_000042\n'))
def test_random_lists_of_images(tmp_path_factory, data):
    base = tmp_path_factory.getbasetemp()/'voc12'
    path = base/'ImageSets/Segmentation/val.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    (base/'JPEGImages').mkdir(exist_ok=True)
    path.write_bytes(data)
    assert survive('list of images', readers.open_benchmark, 'voc21', base) is None  # there are no images

@pytest.fixture(scope='module')
def tiny(): return load_model('tiny')

GOOD = dict(unit='pixel', features='maskclip', background=.3, refine='pamr', size=48, window=48, kp=.3, scales=(1., .5))
ODD = st.sampled_from([None, -1, 0, 1, 1.5, 48, 10**12, -1e300, float('nan'), float('inf'), 'x', '', [], [1], (.5, 2), True, {}, b'x'])

@often
@given(st.sets(st.sampled_from([*GOOD])), st.dictionaries(st.sampled_from([*GOOD, 'stride']), ODD, max_size=1))
def test_random_choices(tiny, good, odd):
    choices = {k: GOOD[k] for k in good} | odd
    survive('choices of a segmenter', lambda: Segmenter(tiny, ['fox', 'grass'], **choices))

def ends(capfd, f, *argv):
    "Exit code, stdout and stderr of a command, run here"
    code = 0
    try:
        run_command(f, list(map(str, argv)))
    except SystemExit as e:
        code = e.code
    out, err = capfd.readouterr()
    return code, out, err

def one_line(err): return len(err.splitlines()) == 1 and 'Traceback' not in err and '--debug' not in err

def evaluated(capfd, root, *more):
    return ends(capfd, mgca_eval, '--data', 'folder', '--root', root, '--device', 'cpu', *more)

def test_a_mark_in_front_of_the_class_list(tmp_path, capfd):
    "An editor's mark is no part of the first class: background is background, and the number is the same"
    root, found = folder(tmp_path, names=('background', 'grass', 'snow')), []
    for encoding in ('utf-8', 'utf-8-sig'):
        (root/'classes.txt').write_text('background\ngrass\nsnow', encoding=encoding)
        code, _, err = evaluated(capfd, root, '--json', tmp_path/'r.json')
        assert code == 0, err
        found.append(json.loads((tmp_path/'r.json').read_text()))
    assert found[0]['iou'] == found[1]['iou'] and 'background' in found[1]['iou']
    for encoding, says in (('utf-16', 'UTF-16'), ('latin-1', 'no UTF-8')):
        (root/'classes.txt').write_text('Tür\ngraß\nsnow', encoding=encoding)
        code, _, err = evaluated(capfd, root)
        assert code == 1 and one_line(err) and says in err and 'classes.txt' in err

def test_more_marks(tmp_path):
    "Lists of images and tables are text as well"
    path = tmp_path/'ImageSets/Segmentation/val.txt'
    path.parent.mkdir(parents=True)
    path.write_text('one\n', encoding='utf-8-sig')
    assert readers.list_names('voc21', tmp_path, tmp_path) == ['one']
    data = table(tmp_path/'t.md')
    (tmp_path/'t.md').write_bytes(b'\xef\xbb\xbf' + data)
    tables.write_table(tmp_path/'t.md', dict(own=RECORD), 'other', '-')
    assert '**tiny**' in (tmp_path/'t.md').read_text() and '**other**' in (tmp_path/'t.md').read_text()

@pytest.mark.parametrize('prompts', [['a photo'], ['a photo of a {}', 'a thing'], ['a {name}'], [3]])
def test_prompts_without_a_place(tiny, prompts):
    with pytest.raises(UserError, match='all classes would be equal'):
        Segmenter(tiny, ['fox', 'grass'], prompts=prompts)

def test_labels_that_would_be_cut(tmp_path):
    path, whole = tmp_path/'a.png', noise(24, 32) % 3
    grey = Image.fromarray(whole)
    for img, says in ((Image.fromarray(whole.astype(np.float32) + .7), 'float32 numbers'), (grey.convert('RGB'), 'colour'),
                      (Image.fromarray(whole.astype(np.uint16) + 256), 'from 0 to 255'), (grey.convert('LA'), 'colour')):
        img.save(path, 'TIFF' if img.mode == 'F' else 'PNG')
        with pytest.raises(UserError, match=says):
            labels.to_classes(labels.read_labels(path), 3, path)
    with pytest.raises(UserError, match='whole ones'):
        labels.to_classes(whole + .7, 3, path)
    Image.fromarray(whole.astype(np.uint16)).save(path)  # 16 bits are no mistake while the numbers fit
    assert (labels.to_classes(labels.read_labels(path), 3, path) == whole).all()
    Image.fromarray(whole.astype(np.uint16) + 256).save(path)
    with pytest.raises(UserError, match='holds label 25'):
        prepare.convert_map(path, tmp_path/'b.png', labels.TABLES['as they are'])
    assert not (tmp_path/'b.png').exists()

def test_grey_of_four_bits(tmp_path):
    "Pillow reads 1 as 17"
    raw = b''.join(b'\0' + bytes([0x12]*4) for _ in range(8))
    def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    head = struct.pack('>IIBBBBB', 8, 8, 4, 0, 0, 0, 0)
    (tmp_path/'a.png').write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(raw)) + chunk(b'IEND', b''))
    assert np.asarray(Image.open(tmp_path/'a.png')).max() == 34
    with pytest.raises(UserError, match='fewer than 8 bits'):
        labels.read_labels(tmp_path/'a.png')

def test_label_maps_of_another_size_or_of_two_images(tmp_path, capfd):
    root = folder(tmp_path/'two', images=('0.png', '0.jpg'))
    code, _, err = evaluated(capfd, root)
    assert code == 1 and one_line(err) and '0.jpg' in err and '0.png' in err and 'share' in err
    root = folder(tmp_path/'size')
    Image.fromarray(noise(23, 32) % 3).save(root/'labels/b.png')
    code, _, err = evaluated(capfd, root)
    assert code == 1 and one_line(err) and 'same size' in err

def test_too_many_classes(tmp_path, capfd):
    root = folder(tmp_path, names=[f'thing {i}' for i in range(256)])
    code, _, err = evaluated(capfd, root)
    assert code == 1 and one_line(err) and '256 classes' in err and '8 bits' in err

def strange(path, kind):
    "A pipe, a socket, a device in the place of a file"
    path.unlink(missing_ok=True)
    if kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'socket':
        here = os.getcwd()
        os.chdir(path.parent)  # names of sockets are short
        socket.socket(socket.AF_UNIX).bind(path.name)
        os.chdir(here)
    else:
        path.symlink_to(kind)

@pytest.mark.parametrize('kind', ['pipe', 'socket', '/dev/zero', '/dev/random'])
def test_only_regular_files(tmp_path, capfd, kind):
    "As photograph, label map, image of a benchmark, class list, list of images, table, earlier JSON"
    root, t0 = folder(tmp_path/'set'), time.perf_counter()
    strange(tmp_path/'p.jpg', kind)
    code, out, err = ends(capfd, mgca_segment, tmp_path/'p.jpg', root/'images/a.png', '--classes', 'fox', '--out', tmp_path/'o')
    assert code == 1 and one_line(err) and '1 of 2 photos failed' in err and out.startswith('a.png')
    for name, flags in (('labels/a.png', ()), ('images/a.png', ()), ('classes.txt', ()), ('t.md', ('--table', root/'t.md')),
                        ('r.json', ('--json', root/'r.json')), ('n.txt', ('--names', root/'n.txt'))):
        strange(root/name, kind)
        code, _, err = evaluated(capfd, root, *flags)
        assert code == 1 and one_line(err) and (name in err or kind in err), (name, err)
        (root/name).unlink()
        folder(root)
    strange(tmp_path/'q.json', kind)
    assert files.may_write(tmp_path/'q', 'png') is False
    assert time.perf_counter() - t0 < 60

def test_a_photograph_without_end(tmp_path):
    path = tmp_path/'a.png'
    Image.new('RGB', (8, 8)).save(path)
    os.truncate(path, 2**40)  # as a sparse file it takes no room
    with pytest.raises(UserError, match='bytes, and at most'):
        photos.read_image(path)
    with pytest.raises(UserError, match='bytes, and at most'):
        labels.read_labels(path)
    with pytest.raises(UserError, match='bytes, and at most'):
        labels.read_names(path)

@pytest.mark.parametrize('format', ['EPS', 'PDF', 'ICO', 'PCX', 'TGA', 'SGI'])
def test_other_formats_named_jpg(tmp_path, monkeypatch, format):
    "Nothing is handed to an interpreter, neither as a photograph nor as a label map"
    from PIL import EpsImagePlugin
    monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', lambda *args, **kw: pytest.fail('Ghostscript was called'))
    Image.fromarray(noise(24, 32, 3)).save(tmp_path/'a.jpg', format)
    for read in (photos.read_image, labels.read_labels):
        with pytest.raises(UserError, match='not a'):
            read(tmp_path/'a.jpg')
    if format == 'EPS':
        with pytest.raises(UserError, match='PostScript'):
            photos.read_image(Image.open(tmp_path/'a.jpg'))

def test_nothing_beside_our_line(tmp_path, capfd, recwarn):
    "Pillow's warnings and libtiff's complaints"
    for seed in range(60):
        data = packed(Image.fromarray(noise(24, 32, 3)), 'TIFF', compression='tiff_lzw')
        (tmp_path/'a.tif').write_bytes(wounded(data, seed))
        survive('TIFF', photos.read_image, tmp_path/'a.tif')
        survive('TIFF', labels.read_labels, tmp_path/'a.tif')
    Image.new('1', (20_000, 9_000)).save(tmp_path/'bomb.png')
    for read in (photos.read_image, labels.read_labels):
        with pytest.raises(UserError, match='pixels'):
            read(tmp_path/'bomb.png')
    assert capfd.readouterr() == ('', '') and not [w for w in recwarn if 'PIL' in str(w.filename)]

FLAGS = {mgca_eval: [(('--limit', -1), '0 stands for all'), (('--batch', 10**5), 'at most 1024'), (('--seed', -1), 'a seed lies'),
                     (('--seed', 10**40), 'a seed lies'), (('--device', 'mps'), 'use auto, cpu or cuda'),
                     (('--kp', 'nan'), 'weight in [0,1]'), (('--size', 10**9), 'at most 4096'),
                     (('--scales', 'nan'), 'between 0 and 100'),
                     (('--background', 'nan'), 'background of nan')],
         mgca_segment: [(('--batch', 10**5), 'at most 1024'), (('--seed', 10**40), 'a seed lies'),
                        (('--device', 'mps'), 'auto, cpu or cuda'), (('--device', 'meta'), 'auto, cpu or cuda'),
                        (('--kp', 'nan'), 'weight in [0,1]'), (('--size', 10**9), 'at most 4096'),
                        (('--scales', '99'), 'after scaling'), (('--background', 'inf'), 'threshold')],
         mgca_quickstart: [(('--seed', -1), 'got -1'), (('--seed', 10**40), 'got 1000'), (('--minutes', 'nan'), 'got 1, 300 and nan'),
                           (('--minutes', 'inf'), 'inf'), (('--minutes', -1), 'positive'), (('--scenes', 0), 'positive'),
                           (('--scenes', 10**12), 'at most'), (('--seeds', 0), 'positive'), (('--seeds', 10**9), 'at most')],
         mgca_bench: [(('--seed', -1), 'a seed lies'), (('--device', 'mps'), 'auto, cpu or cuda')]}

@pytest.mark.parametrize('f,flags,says', [(f, *row) for f, rows in FLAGS.items() for row in rows], ids=str)
def test_flags_out_of_range(tmp_path, capfd, f, flags, says):
    "At once, in one line"
    t0 = time.perf_counter()
    Image.fromarray(noise(24, 32, 3)).save(tmp_path/'a.png')
    before = [tmp_path/'a.png', '--classes', 'fox'] if f is mgca_segment else []
    out = ['--out', tmp_path/'o'] if f in (mgca_segment, mgca_quickstart) else []
    code, _, err = ends(capfd, f, *before, *out, *flags)
    assert code == 1 and one_line(err) and says in err, err
    assert time.perf_counter() - t0 < 15

@pytest.mark.skipif(torch.cuda.is_available(), reason='there is one')
@pytest.mark.parametrize('f', [mgca_eval, mgca_bench])
def test_a_gpu_that_is_not_there(capfd, f):
    code, _, err = ends(capfd, f, '--device', 'cuda')
    assert code == 1 and one_line(err) and '--device cpu' in err

@pytest.mark.parametrize('f,flag', [(mgca_eval, '--json'), (mgca_eval, '--table'), (mgca_bench, '--json')])
def test_results_that_could_not_be_written(tmp_path, capfd, monkeypatch, f, flag):
    "Found out before the work"
    for name in ('load_model', 'bench_groups'):
        for module in ('mgca.eval.command', 'mgca.apps.speed'):
            monkeypatch.setattr(f'{module}.{name}', lambda *args, **kw: pytest.fail('the work has begun'), raising=False)
    (tmp_path/'file').touch()
    (tmp_path/'folder').mkdir()
    for place in (tmp_path/'file/r', tmp_path/'folder', '/dev/null', tmp_path/('n'*300), '/proc/r'):
        code, _, err = ends(capfd, f, flag, place)
        assert code == 1 and one_line(err), (place, err)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['file', 'folder']

def test_a_report_that_could_not_be_written(tmp_path, capfd):
    t0 = time.perf_counter()
    (tmp_path/'report.html').mkdir()
    code, _, err = ends(capfd, mgca_quickstart, '--out', tmp_path)
    assert code == 1 and one_line(err) and 'report.html' in err and time.perf_counter() - t0 < 5

def test_terminals_that_know_only_ascii(tmp_path):
    Image.fromarray(noise(24, 32, 3)).save(tmp_path/'Tür.png')
    env = dict(ENV, LANG='C', LC_ALL='C', PYTHONIOENCODING='ascii', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')
    code = 'from mgca.segment.command import main; main()'
    args = [sys.executable, '-c', code, os.fsencode(tmp_path/'Tür.png'), '--classes', 'Füchse; graß', '--out', tmp_path/'o']
    p = subprocess.run(args, env=env, capture_output=True, timeout=120)
    assert p.returncode == 0 and p.stderr == b'' and p.stdout.isascii(), p.stderr
    assert len(os.listdir(tmp_path/'o')) == 3

@pytest.mark.parametrize('signum,code', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_while_importing(tmp_path, signum, code):
    "By the way in that settings.ini gives the command"
    row = next(line for line in (ROOT/'settings.ini').read_text().splitlines() if 'mgca_segment=' in line)
    module, f = row.split('mgca_segment=')[1].split(':')
    run = f'import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import {module} as m; m.{f}()'
    p = subprocess.Popen([sys.executable, '-c', run, 'x.png', '--classes', 'fox', '--out', tmp_path/'o'], env=ENV, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while p.poll() is None and 'libtorch' not in Path(f'/proc/{p.pid}/maps').read_text():
        time.sleep(.01)
    p.send_signal(signum)
    out, err = p.communicate(timeout=60)
    assert p.returncode == code and out == '' and len(err.splitlines()) <= 1, err
    assert not (tmp_path/'o').exists()

BAD_ARGUMENTS = [dict(class_names=None), dict(class_names=[1, 2]), dict(class_names=[]), dict(class_names=['|']),
                 dict(class_names=['a', 'a']), dict(prompts=3), dict(prompts='none such'), dict(window=48., stride=3.3), dict(window=7),
                 dict(size='big'), dict(kp=None), dict(scales=[None]), dict(scales=(1.,)*99),
                 dict(background=[3]), dict(background={}), dict(unit=[]), dict(features=3)]

@pytest.mark.parametrize('kw', BAD_ARGUMENTS, ids=str)
def test_arguments_of_the_wrong_kind(tiny, kw):
    with pytest.raises(UserError) as e:
        Segmenter(tiny, **{'class_names': ['fox', 'grass'], **kw})
    assert '\n' not in str(e.value)

@pytest.mark.parametrize('model', [None, 3, 'tiny', object()])
def test_models_that_are_none(model):
    with pytest.raises(UserError, match='load_model'):
        Segmenter(model, ['fox'])

BAD_IMAGES = [None, '', 'a\0b', 'n'*5000, torch.full((3, 8, 8), 200.), torch.full((3, 8, 8), torch.nan), torch.zeros(3, 8, 8).long(),
              torch.zeros(3, 8, 8, dtype=torch.complex64), torch.zeros(3, 8, 8, device='meta'), torch.zeros(3, 8, 8).to_sparse(),
              torch.zeros(1, 3, 8, 8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8), Image.new('RGB', (0, 8))]

@pytest.mark.parametrize('img', BAD_IMAGES, ids=lambda img: str(type(img))[:20])
def test_images_that_are_none(tiny, img):
    with pytest.raises(UserError) as e:
        Segmenter(tiny, ['fox'])(img)
    assert '\n' not in str(e.value)

def test_half_a_photograph(tmp_path):
    "Opened by Pillow, cut off, handed in"
    for format in ('PNG', 'JPEG', 'TIFF'):
        data = packed(Image.fromarray(noise(64, 64, 3)), format)
        with pytest.raises(UserError):
            photos.read_image(Image.open(io.BytesIO(data[:len(data)//2])))

def test_names_nobody_can_show(tmp_path, capfd):
    "Half a character in a class and in a file's name, a line break in a name"
    for name in ('q\udcff.png', 'x\ny.png'):
        Image.fromarray(noise(24, 32, 3)).save(tmp_path/name)
    code, out, err = ends(capfd, mgca_segment, tmp_path, '--classes', 'f\udcffx; snow', '--format', 'coco', '--out', tmp_path/'o')
    assert code == 0 and err == '' and len(os.listdir(tmp_path/'o')) == 8
    for path in (tmp_path/'o').glob('*.json'):
        assert json.loads(path.read_text())

def test_a_label_map_that_is_far_too_large(tmp_path, capfd):
    "Refused before its numbers are looked up"
    root = folder(tmp_path)
    Image.new('L', (9_000, 9_000)).save(root/'labels/a.png')
    t0 = time.perf_counter()
    code, _, err = evaluated(capfd, root)
    assert code == 1 and one_line(err) and 'same size' in err and time.perf_counter() - t0 < 10

def test_a_thousand_photographs_of_one_name():
    t0 = time.perf_counter()
    found = photos.output_names([Path('a.png')]*20_000, files.endings('coco'))
    assert len(set(found)) == 20_000 and time.perf_counter() - t0 < 10

@pytest.mark.parametrize('flags,says', [(['--size', 2048], 'patches at once'), (['--scales', '1,9'], 'patches at once'),
                                        (['--size', 960, '--window', 96, '--stride', 8], 'windows, 400 at most')], ids=str)
def test_work_without_end(tmp_path, capfd, flags, says):
    "The photo is named, and others are segmented"
    Image.fromarray(noise(40, 400)).save(tmp_path/'wide.png')
    t0 = time.monotonic()
    code, _, err = ends(capfd, mgca_segment, tmp_path/'wide.png', '--classes', 'fox', '--out', tmp_path/'o', *flags)
    assert code == 1 and one_line(err) and says in err and 'wide.png' in err and time.monotonic() - t0 < MOST_SECONDS

def test_a_table_of_something_else(tmp_path, capfd):
    "Found out before the work"
    (tmp_path/'t.md').write_text('# My diary\n')
    code, out, err = ends(capfd, mgca_eval, '--data', 'scenes', '--limit', 1, '--table', tmp_path/'t.md')
    assert code == 1 and one_line(err) and 'holds another protocol' in err and 'mIoU' not in out
