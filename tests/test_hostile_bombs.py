"""Small files that would take minutes or gigabytes, results that nobody reads, words without end."""
import io, json, os, signal, struct, subprocess, sys, time, zlib
from pathlib import Path
import numpy as np
import pytest
from PIL import Image
from mgca.core.base import UserError
from mgca.encoders.prompts import fill_prompts
from mgca.eval.labels import read_labels
from mgca.segment import command as segment_command
from mgca.segment.photos import read_image

ENV = dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', MPLBACKEND='agg')
MOST_BYTES, MOST_SECONDS = 2**30, 10 # beside what the process had; of its own processor time

def peak(): # bytes, since the last `clear_refs`
    return next(int(line.split()[1])*1024 for line in open('/proc/self/status') if line.startswith('VmHWM'))

@pytest.fixture(autouse=True)
def bounded():
    "Every case ends soon and holds little"
    if sys.platform.startswith('linux'):
        Path('/proc/self/clear_refs').write_text('5')
    before, t0 = peak() if sys.platform.startswith('linux') else 0, time.thread_time()
    yield
    assert time.thread_time() - t0 < MOST_SECONDS
    assert not before or peak() - before < MOST_BYTES

def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

def png(w, h, more=b''): # grey of one bit
    pack, line = zlib.compressobj(9), bytes((w + 7)//8 + 1)
    body = b''.join(pack.compress(line*min(1000, h - y)) for y in range(0, h, 1000)) + pack.flush()
    head = struct.pack('>IIBBBBB', w, h, 1, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + more + chunk(b'IDAT', body) + chunk(b'IEND', b'')

def tiff(side): # 64 x 64 pixels in one tile of `side` x `side`
    pack = zlib.compressobj(9)
    body = b''.join(pack.compress(bytes(2**20)) for _ in range(side*side//2**20)) + pack.flush()
    at = 8 + 2 + 12*10 + 4
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: at, 325: len(body)}
    entries = b''.join(struct.pack('<HHII', t, 4, 1, v) for t, v in tags.items())
    return b'II*\0' + struct.pack('<IH', 8, len(tags)) + entries + bytes(4) + body

def encoded(format, size=(64, 64), **kw):
    buf = io.BytesIO()
    Image.new('RGB', size, (200, 80, 30)).save(buf, format, **kw)
    return bytearray(buf.getvalue())

def scans(times): # a progressive JPEG that says it has 9400 x 9400 pixels, its scans again and again
    data = encoded('JPEG', progressive=True)
    at = data.index(b'\xff\xc2')
    data[at + 5:at + 9] = struct.pack('>HH', 9400, 9400)
    first = data.index(b'\xff\xda')
    return bytes(data[:first] + data[first:-2]*times + b'\xff\xd9')

def canvas(w, h): # a WebP whose canvas is larger than its picture
    data = encoded('WEBP', save_all=True, append_images=[Image.new('RGB', (64, 64))])
    at = data.index(b'VP8X') + 12
    data[at:at + 6] = (w - 1).to_bytes(3, 'little') + (h - 1).to_bytes(3, 'little')
    return bytes(data)

def jp2(w, h):
    data = encoded('JPEG2000')
    box, siz = data.index(b'ihdr') + 4, data.index(b'\xff\x51')
    data[box:box + 8] = struct.pack('>II', h, w)
    for at in (siz + 6, siz + 22):
        data[at:at + 8] = struct.pack('>II', w, h)
    return bytes(data)

BOMBS = dict(scans=(lambda: scans(3000), 'scans in one JPEG'), tile=(lambda: tiff(16384), 'tiles of 16384 x 16384'),
             canvas=(lambda: canvas(9400, 9400), 'of WEBP at most'), canvas_max=(lambda: canvas(16383, 16383), 'pixels'),
             jp2=(lambda: jp2(9400, 9400), 'of JPEG2000 at most'), wide=(lambda: png(80_000_000, 1), 'a side of at most'),
             tall=(lambda: png(1, 80_000_000), 'a side of at most'), pixels=(lambda: png(20_000, 9_000), 'pixels'),
             chunks=(lambda: png(8, 8, chunk(b'noTh', b'')*6_000_000), 'far too long'),
             comment=(lambda: b'P5 #' + b'0'*30_000_000 + b'\n8 8 255\n' + bytes(64), 'far too long'),
             text=(lambda: png(8, 8, chunk(b'zTXt', b'k\0\0' + zlib.compress(bytes(2**26)))*9), 'too large'),
             profile=(lambda: png(8, 8, chunk(b'iCCP', b'k\0\0' + zlib.compress(bytes(2**26)))), 'too large'))

@pytest.mark.parametrize('name', BOMBS)
def test_bombs(tmp_path, name):
    make, says = BOMBS[name]
    path = tmp_path/'bomb.jpg'
    path.write_bytes(make())
    with pytest.raises(UserError, match=says) as e:
        read_image(path)
    assert 'bomb.jpg' in str(e.value) and '\n' not in str(e.value)

@pytest.mark.parametrize('name', ['tile', 'wide', 'tall', 'pixels', 'chunks'])
def test_bombs_as_label_maps(tmp_path, name):
    path = tmp_path/'bomb.png'
    path.write_bytes(BOMBS[name][0]())
    with pytest.raises(UserError, match='bomb.png'):
        read_labels(path)

@pytest.mark.parametrize('start', [b'RIFF\xf8\xff\xff\x1fWEBPVP8X', b'\xff\xd8\xff', b'II*\0\xff\xff\xff\x0f', b'P5 8 8 '])
def test_hundreds_of_megabytes_of_nothing(tmp_path, start):
    path = tmp_path/'bomb.jpg'
    path.write_bytes(start + bytes(99))
    os.truncate(path, 2**28)  # takes no room on the disk
    with pytest.raises(UserError, match='bomb.jpg'):
        read_image(path)

def test_large_photographs_pass(tmp_path):
    "What a camera makes is read"
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    for format, kw in (('JPEG', dict(progressive=True)), ('PNG', {}), ('TIFF', dict(compression='tiff_deflate')), ('BMP', {})):
        noise.resize((4000, 3000)).save(tmp_path/'a.jpg', format, **kw)
        assert read_image(tmp_path/'a.jpg').shape == (3000, 4000, 3)

def test_damaged_exif_spoils_no_picture(tmp_path, capfd):
    data = encoded('JPEG', exif=b'Exif\0\0II*\0\xff\xff\0\0')
    (tmp_path/'a.jpg').write_bytes(data)
    assert read_image(tmp_path/'a.jpg').shape == (64, 64, 3)
    assert capfd.readouterr() == ('', '')

@pytest.mark.parametrize('names,says', [(['a'*100_000], '100,000 characters'), (['fox', '|'.join(map(str, range(70_000)))], 'sentences'),
                                        ([str(i) for i in range(70_000)], 'sentences'), ([str(i % 9999) for i in range(50_000)], 'twice')])
def test_words_without_end(names, says):
    with pytest.raises(UserError, match=says) as e:
        fill_prompts(names, 'plain')
    assert len(str(e.value)) < 300

def photos(folder, n):
    folder.mkdir(exist_ok=True)
    for i in range(n):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(folder/f'{i}.png')
    return folder

DOOR = [sys.executable, '-c', 'from mgca.core.entry import mgca_segment; mgca_segment()']

@pytest.mark.parametrize('how,code,lines', [('> /dev/full', 1, 1), ('| head -1', 1, 1), ('>&-', 0, 0), ('>&- 2>&-', 0, 0)])
def test_nobody_reads_the_lines(tmp_path, how, code, lines):
    "The files are written all the same"
    photos(tmp_path/'p', 3)
    args = [*DOOR, str(tmp_path/'p'), '--classes', 'fox', '--out', str(tmp_path/'o')]
    p = subprocess.run(['bash', '-c', f'set -o pipefail; "$@" {how}', 'x', *args], env=ENV, capture_output=True, text=True)
    assert p.returncode == code and len(p.stderr.splitlines()) == lines and 'Traceback' not in p.stderr, p.stderr
    assert len(os.listdir(tmp_path/'o')) == 9

def segment(*argv): # exit code
    try:
        segment_command.run_command(segment_command.mgca_segment, list(map(str, argv)))
    except SystemExit as e:
        return e.code
    return 0

def test_many_photographs_at_once(tmp_path, monkeypatch, capfd):
    "However large --batch is, few are in memory"
    from mgca.segment import photos as reading
    most = []
    class Counted(segment_command.Segmenter):
        def several(self, imgs, compact=False):
            most.append(sum(img.size//3 for img in imgs))
            return super().several(imgs, compact)
    monkeypatch.setattr(segment_command, 'Segmenter', Counted)
    monkeypatch.setattr(reading.together, '__defaults__', (30*40*3,))
    assert segment(photos(tmp_path/'p', 8), '--classes', 'fox', '--batch', 1024, '--out', tmp_path/'o') == 0
    assert max(most) == 30*40*3 and len(most) == 3
    assert len(os.listdir(tmp_path/'o')) == 24

def test_a_mark_in_front_of_typed_classes(tmp_path, capfd):
    assert segment(photos(tmp_path/'p', 1), '--classes', '\ufefffox; grass', '--out', tmp_path/'o') == 0
    assert list(json.loads((tmp_path/'o/0.json').read_text())['classes']) == ['fox', 'grass']

def test_a_warning_is_one_line(tmp_path):
    args = [photos(tmp_path/'p', 1), '--classes', 'fox ' + 'word '*150, '--out', tmp_path/'o']
    p = subprocess.run([*DOOR, *map(str, args)], env=ENV, capture_output=True, text=True)
    lines = p.stderr.splitlines()
    assert p.returncode == 0 and lines and all(line.startswith('mgca_segment: a prompt of') for line in lines), p.stderr

@pytest.mark.parametrize('seconds', [.15, .4, .8, 1.6])
def test_ctrl_c_at_any_time(tmp_path, seconds):
    "While Python's own, torch or the model load: at most one line"
    photos(tmp_path/'p', 1)
    listen = 'import signal; signal.signal(signal.SIGINT, signal.default_int_handler); '
    p = subprocess.Popen([sys.executable, '-c', listen + DOOR[2], tmp_path/'p', '--classes', 'fox', '--out', tmp_path/'o'], env=ENV,
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(seconds)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    told = 128 - p.returncode if p.returncode < 0 else p.returncode  # by a shell; in Python's own end the signal has its plain effect
    assert told in (0, 130) and len(err.splitlines()) <= 1 and 'Traceback' not in err, err
