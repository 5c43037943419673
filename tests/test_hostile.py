"Training on what strangers give: files that are none, headers that lie, servers that dawdle, edited checkpoints, random bytes."
import copy, gzip, http.server, io, json, os, resource, shutil, signal, socket, subprocess, sys, tarfile, threading, time, warnings
from pathlib import Path
import numpy as np
import pytest, torch
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from mgca.core.base import UserError
from mgca.core.bounded import Trouble, fetch, read_file
from mgca.data.captions import captioned, decode_photo, sample_of, table_source
from mgca.data.nouns import NounLexicon
from mgca.data.order import CaptionStream
from mgca.data.scenes import SceneCaptions
from mgca.data.sources import column_sample, open_source, parquet_source, read_folder
from mgca.data.shards import read_tar
from mgca.systems.registry import configure
from mgca.systems.saved import load_model
from mgca.train.checkpoint import load_checkpoint, step_of
from mgca.train.features import kept_features
from mgca.train.loop import train
from mgca.train.run import Run

torch.set_num_threads(1)
BIN, ENV = Path(sys.executable).parent, dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1')
EXAMPLES = int(os.environ.get('MGCA_EXAMPLES', 40))  # random inputs a reader
SECONDS, MEMORY = 10, 1.5*2**30  # bounds of one of them
SMALL = dict(steps=3, batch=4, cached_features=64)

def jpeg(img=None): # bytes
    b = io.BytesIO()
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8) if img is None else img).save(b, 'JPEG')
    return b.getvalue()

PHOTO = jpeg()

def said(samples): return [s if isinstance(s, Trouble) else s[1] for s in samples]

def one_line(call, contains=''): # the message
    with pytest.raises(UserError) as e:
        call()
    assert contains in str(e.value) and len(str(e.value)) < 700, str(e.value)
    return str(e.value)

@pytest.fixture(scope='module')
def run(tmp_path_factory): # folder of a small run of six steps, with checkpoints of steps 3 and 6
    out = tmp_path_factory.mktemp('hostile')/'run'
    train(configure(**{**SMALL, 'steps': 6}), out, save_every=3, progress=False)
    return out

@pytest.fixture
def copied(run, tmp_path): # one's own
    return Path(shutil.copytree(run, tmp_path/'run'))

# ---- what is not a file

@pytest.fixture
def odd(tmp_path): # folder of a good photograph and of things that are none
    for name in 'abcdef':
        (tmp_path/f'{name}.txt').write_text('a fox on the grass')
    (tmp_path/'a.jpg').write_bytes(PHOTO)
    os.mkfifo(tmp_path/'b.jpg')
    (tmp_path/'c.jpg').symlink_to('/dev/zero')
    (tmp_path/'d.jpg').symlink_to('nowhere')
    (tmp_path/'e.jpg').mkdir()
    s = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(tmp_path)  # a socket's path must be short
    s.bind('f.jpg')
    os.chdir(here)
    yield tmp_path
    s.close()

KINDS_OF_ODD = ['not_a_file', 'not_a_file', 'missing_file', 'not_a_file', 'not_a_file']

def test_no_files_in_a_folder(odd):
    assert said(read_folder(odd)) == [['a fox on the grass'], *KINDS_OF_ODD]
    assert len(open_source(odd).fingerprint()) == 16

def test_no_files_in_a_table(odd):
    (odd/'t.csv').write_text('path,caption\n' + ''.join(f'{n}.jpg,a fox\n' for n in 'abcdef') + f'{"x"*300}.jpg,a fox\n"a\0b",a fox\n')
    source = table_source(odd/'t.csv')
    assert said(source.read(source.units[0])) == [['a fox'], *KINDS_OF_ODD, 'missing_file', 'missing_file']

def test_no_files_as_data(odd):
    os.mkfifo(odd/'shard.tar')
    assert said(read_tar(odd/'shard.tar')) == ['missing_shard']
    for name in ('t.csv', 't.txt'):
        os.mkfifo(odd/name)
        one_line(lambda n=name: open_source(odd/n), 'a pipe or a device')
    for long in ('x'*300 + '.csv', 'x'*300 + '.txt', 'x'*300, 'a\0b.csv', 'a\0.tar'):
        one_line(lambda n=long: open_source(n))

def test_a_file_of_a_terabyte(tmp_path):
    with open(tmp_path/'a.jpg', 'wb') as f:
        f.truncate(2**40)
    (tmp_path/'a.txt').write_text('a fox')
    assert read_file(tmp_path/'a.jpg') == 'huge_file' and said(read_folder(tmp_path)) == ['huge_file']

# ---- servers

@pytest.fixture
def server(): # address; the path says what it does
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args): pass
        def do_GET(self):
            try:
                if 'headers' in self.path:
                    for c in b'HTTP/1.1 200 OK\r\n' + b'x: y\r\n'*99:
                        self.wfile.write(bytes([c]))
                        time.sleep(.3)
                if 'loud' in self.path:
                    self.send_response(302)
                    self.send_header('Location', '/endless')
                    self.end_headers()
                    while True:
                        self.wfile.write(bytes(10**6))
                if 'file' in self.path:
                    self.send_response(302)
                    self.send_header('Location', 'file:///etc/hostname')
                    return self.end_headers()
                self.send_response(200)
                self.end_headers()
                for _ in range(100 if 'drip' in self.path else 10**6):
                    self.wfile.write(b'x' if 'drip' in self.path else bytes(10**5))
                    if 'drip' in self.path:
                        time.sleep(.3)
            except OSError:
                pass
    s = http.server.ThreadingHTTPServer(('localhost', 0), Handler)
    s.daemon_threads = True
    threading.Thread(target=s.serve_forever, daemon=True).start()
    yield f'http://localhost:{s.server_port}'
    s.shutdown()

@pytest.mark.parametrize('path', ['drip', 'headers'])
def test_a_server_that_drips(server, path):
    t0 = time.time()
    assert fetch(f'{server}/{path}', seconds=1) == 'slow_link'
    assert time.time() - t0 < 4

def test_servers_that_pour_or_lead_astray(server):
    assert fetch(f'{server}/endless') == 'huge_file'
    assert fetch(f'{server}/file') == 'dead_link'
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert fetch(f'{server}/loud') == 'huge_file'  # whatever else a redirection says
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB

def test_a_table_of_dripping_servers_goes_on(server, tmp_path, monkeypatch):
    "The images that wait are waited for together"
    monkeypatch.setattr('mgca.data.captions.fetch', lambda url: fetch(url, seconds=1))
    (tmp_path/'a.jpg').write_bytes(PHOTO)
    (tmp_path/'t.csv').write_text('url,caption\n' + ''.join(f'{server}/drip{i},a fox\n' for i in range(20)) + 'a.jpg,a fox\n')
    source, t0 = table_source(tmp_path/'t.csv'), time.time()
    assert said(source.read(source.units[0])) == ['slow_link']*20 + [['a fox']]
    assert time.time() - t0 < 8

# ---- headers that lie

def claim(name, size, data=b'', kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)

GOOD = claim('z.jpg', len(PHOTO), PHOTO) + claim('z.txt', 5, b'a fox')

@pytest.mark.parametrize('size', [2**33, 2**40, 2**62])
@pytest.mark.parametrize('kind', [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, b'?'])
def test_a_member_that_claims(tmp_path, size, kind):
    "What came before is kept but for the neighbour, the shard counts as cut, and at once"
    (tmp_path/'a.tar').write_bytes(GOOD + claim('x.jpg', 0) + claim('y.jpg', size, b'', kind) + bytes(1024))
    t0 = time.time()
    assert said(read_tar(tmp_path/'a.tar')) == [['a fox'], 'truncated_tar']
    assert time.time() - t0 < 2

def test_a_header_that_takes_long_to_read(tmp_path):
    "Python searches headers of a megabyte for minutes"
    info = tarfile.TarInfo('x')
    info.size, info.type = 2**20, tarfile.XHDTYPE
    (tmp_path/'a.tar').write_bytes(info.tobuf() + b'1'*2**20 + bytes(1024))
    t0 = time.time()
    assert said(read_tar(tmp_path/'a.tar')) == ['truncated_tar'] and time.time() - t0 < 3

def test_a_jpeg_of_100_000_scans():
    b = io.BytesIO()
    Image.new('L', (7000, 7000)).save(b, 'JPEG', progressive=True)
    whole = b.getvalue()
    t0 = time.time()
    assert decode_photo(whole[:-2] + 10_000*whole[whole.rindex(b'\xff\xda'):-2] + whole[-2:], 96) == 'bad_image'
    assert time.time() - t0 < 3

@pytest.mark.parametrize('packed', [False, True])
def test_a_member_of_100_megabytes(tmp_path, packed):
    "It is passed over and counted, its neighbours are read"
    with (gzip.open if packed else open)(tmp_path/'a.tar', 'wb') as f:
        f.write(claim('y.jpg', 100*2**20))
        for _ in range(100):
            f.write(bytes(2**20))
        f.write(claim('y.txt', 5, b'a hat') + GOOD + bytes(10240))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert said(read_tar(tmp_path/'a.tar')) == ['huge_file', ['a fox']]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60*1024

@pytest.mark.parametrize('ending', ['.tar.gz', '.tgz'])
def test_packed_shards(tmp_path, ending):
    (tmp_path/f'a{ending}').write_bytes(gzip.compress(GOOD + bytes(10240)))
    for data in (tmp_path/f'a{ending}', tmp_path, tmp_path/f'*{ending}'):
        assert list(open_source(data).captions()) == ['a fox']

def test_100_000_captions(tmp_path):
    for files in (dict(jpg=PHOTO, json=json.dumps(dict(captions=['a fox']*100_000)).encode()), dict(jpg=PHOTO, txt=b'fox '*10**6)):
        assert sample_of(files) == 'huge_caption'
    (tmp_path/'a.jpg').write_bytes(PHOTO)
    (tmp_path/'t.csv').write_text('path,caption\n' + 'a.jpg,a fox\n'*100_000)
    source = table_source(tmp_path/'t.csv')
    assert said(source.read(source.units[0])) == ['huge_caption'] and list(source.captions()) == []

@pytest.mark.parametrize('said', [b'['*200_000, b'{"captions":'*9000, b'{"caption": "\\ud800"}', b'{"captions": ["a fox", "x\\udfff"]}'])
def test_bad_json(said):
    assert sample_of(dict(jpg=PHOTO, json=said)) == 'bad_caption'

def test_a_broken_parquet_first(tmp_path):
    datasets = pytest.importorskip('datasets')
    cells = [dict(bytes=PHOTO, path=None)]*2
    features = datasets.Features(image=datasets.Image(), caption=datasets.Value('string'))
    datasets.Dataset.from_dict(dict(image=cells, caption=['a fox', 'a hat']), features=features).to_parquet(tmp_path/'1.parquet')
    whole = (tmp_path/'1.parquet').read_bytes()
    (tmp_path/'0.parquet').write_bytes(whole[:len(whole)//2])
    os.mkfifo(tmp_path/'2.parquet')
    for data in (tmp_path, tmp_path/'*.parquet'):
        source = open_source(data)
        assert [said(source.read(u)) for u in source.units] == [[['a fox'], ['a hat']], ['broken_shard'], ['broken_shard']]
    (tmp_path/'1.parquet').unlink()
    one_line(lambda: parquet_source(tmp_path/'*.parquet'), 'not one whole Parquet file')

def test_nobody_else_speaks(tmp_path):
    "Neither Pillow's nor datasets' warnings stand beside our line, and Ghostscript is not started"
    tiff, b = io.BytesIO(), io.BytesIO()
    Image.new('RGB', (9, 9)).save(tiff, 'TIFF')
    Image.new('P', (9, 9)).save(b, 'PNG', transparency=bytes(range(9)))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for data in (tiff.getvalue()[:60], tiff.getvalue(), b.getvalue(), PHOTO[:30] + b'\xff'*9 + PHOTO[30:]):
            decode_photo(data, 32)
    assert decode_photo(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n', 32) == 'bad_image'

def test_training_goes_on(odd, tmp_path):
    "The command on a folder of all of these: the good ones are learned from, the others are counted in one run card"
    imgs, captions = SceneCaptions(batch=60, size=96, seed=5)[0]
    for i, (img, caption) in enumerate(zip(imgs, captions)):
        (odd/f'{i:03d}.jpg').write_bytes(jpeg(img.permute(1, 2, 0).numpy()))
        (odd/f'{i:03d}.txt').write_text(caption)
    (odd/'x.jpg').write_bytes(PHOTO)
    (odd/'x.json').write_bytes(b'['*100_000)
    (odd/'y.jpg').write_bytes(PHOTO)
    (odd/'y.json').write_text(json.dumps(dict(captions=['a fox']*100_000)))
    (odd/'w.jpg').write_bytes(PHOTO)
    (odd/'w.json').write_text('{"caption": "\\ud800 fox"}')
    p = subprocess.run([BIN/'mgca_train', '--data', odd, '--out', tmp_path/'out', '--steps', '3', '--batch', '4', '--device', 'cpu',
                        '--set', 'cached_features=80'], env=ENV, text=True, capture_output=True, timeout=120)
    assert p.returncode == 0 and p.stderr.strip() == '', p.stderr
    counts = json.loads((tmp_path/'out/run.json').read_text())['samples']
    assert counts['not_a_file'] == 4 and counts['missing_file'] == 1 and counts['bad_caption'] == 2 and counts['huge_caption'] == 1
    assert counts['good'] == 61

# ---- settings

WRONG = ['lr=-1', 'lr=nan', 'lr=inf', 'weight_decay=nan', 'eps=0', 'tau_obj=0', 'clip_norm=nan', 'clip_norm=-1', 'steps=-3', 'scales=0',
         'scales=1,1,1,1,1,1,1,1,1', 'scales=8,8,8,8',
         'rho_pos=2', 'w_reg=-5', 'workers=-1', 'workers=100000', 'levels_after=nan', 'k_pix=99999999',
         'batch=100000', 'image_size=9999', 'image_size=7', 'k_n=99999999', 'regions=99999999', 'microbatches=99999999',
         'seed=99999999999999999999', 'seed=-1', 'shuffle=999999999', 'cached_features=999999999999', 'seed=1e3', 'lr=x',
         'batch=' + '9'*5000, 'nonsense=1', 'x'*10_000, 'model=a\0b']

@pytest.mark.parametrize('text', WRONG, ids=lambda t: t[:30])
def test_wrong_settings(text):
    one_line(lambda: configure([text]))

def test_refused_before_anything_is_computed():
    t0 = time.time()
    one_line(lambda: train(configure(['lr=-1'], cached_features=6000)), 'lr must lie')
    assert time.time() - t0 < 2
    one_line(lambda: train(configure(cached_features=10**8), progress=False), 'cached_features=0')
    one_line(lambda: train(configure(image_size=1024, **SMALL), progress=False), 'too large')

# ---- checkpoints

def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

def resealed(folder): # what somebody does who knows of the checksums
    import hashlib
    sums = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != 'checksums.json'}
    (folder/'checksums.json').write_text(json.dumps(sums))

def go_on(out, **kw): return train(configure(**{**SMALL, 'steps': 8, **kw}), out, resume=True, progress=False)

def test_strangers_are_left_alone(copied):
    (copied/'step-foreign').mkdir()
    (copied/'step-foreign/photo').write_text('x')
    (copied/'step-00000001').mkdir()
    (copied/'step-00000001/mine').write_text('x')
    go_on(copied)
    assert (copied/'step-foreign/photo').exists() and (copied/'step-00000001/mine').exists() and step_of(copied/'last') == 8
    shutil.rmtree(copied/'last')
    (copied/'last').mkdir()
    (copied/'last/mine').write_text('x')
    one_line(lambda: go_on(copied), 'is no checkpoint of mgca')
    assert (copied/'last/mine').exists()

@pytest.mark.parametrize('name', ['log.jsonl', 'run.json', '.lock'])
@pytest.mark.parametrize('how', ['text', 'link', 'pipe', 'folder'])
def test_files_of_others_in_a_new_run_folder(tmp_path, name, how):
    "Refused, and as they were"
    path, far = tmp_path/'run'/name, tmp_path/'far'
    path.parent.mkdir()
    far.write_text('mine')
    make = dict(text=lambda: path.write_text('mine'), link=lambda: path.symlink_to(far), pipe=lambda: os.mkfifo(path), folder=path.mkdir)
    make[how]()
    one_line(lambda: train(configure(**SMALL), tmp_path/'run', progress=False), 'was not written by mgca')
    assert far.read_text() == 'mine' and (how != 'text' or path.read_text() == 'mine') and len(list(path.parent.iterdir())) == 1

def test_folders_that_look_like_a_killed_save(tmp_path):
    (tmp_path/'run/.saving-thesis').mkdir(parents=True)
    (tmp_path/'run/.saving-thesis/chapter.txt').write_text('the only copy')
    train(configure(**SMALL), tmp_path/'run', progress=False)
    assert (tmp_path/'run/.saving-thesis/chapter.txt').exists() and step_of(tmp_path/'run/last') == 3

CHANGES = 'bool', 'half', 'double', 'int', 'neg', 'abs().flatten', 'isnan().float().log'

@pytest.mark.parametrize('change', CHANGES, ids=lambda c: c.split('(')[0])
@pytest.mark.parametrize('what', ['step', 'exp_avg_sq'])
def test_an_edited_optimiser(copied, what, change):
    path = copied/'last/state.safetensors'
    tensors = load_file(path)
    key = next(k for k in tensors if k.endswith(f'gate|{what}'))
    t = tensors[key]
    tensors[key] = eval(f't.{change}()', dict(t=t)).contiguous()
    save_file(tensors, path)
    resealed(copied/'last')
    one_line(lambda: go_on(copied), 'does not hold what this run needs')

def test_divergence_keeps_the_good_checkpoint(copied, monkeypatch):
    before = (copied/'last/model.safetensors').read_bytes()
    real = Run.gradients
    def nan(self, batch, progress):
        losses, out = real(self, batch, progress)
        return {k: float('nan') for k in losses}, out
    monkeypatch.setattr(Run, 'gradients', nan)
    told = one_line(lambda: train(configure(**{**SMALL, 'steps': 30}), copied, resume=True, save_every=1, progress=False), 'lower lr')
    assert 'go on from step 6 with --resume' in told and (copied/'last/model.safetensors').read_bytes() == before
    monkeypatch.undo()
    go_on(copied, lr=float(told.split('lr=')[1].split(')')[0]))  # the advice as it is printed
    assert step_of(copied/'last') == 8

def test_one_writer(copied):
    code = f'import sys, time\nfrom pathlib import Path\nfrom mgca.train.checkpoint import claim_folder\n' \
           f'l = claim_folder(Path({str(copied)!r}))\nprint("mine", flush=True)\ntime.sleep(60)'
    p = subprocess.Popen([sys.executable, '-c', code], env=ENV, stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == 'mine\n'
    one_line(lambda: go_on(copied), 'another run is writing')
    p.kill()
    p.wait()
    go_on(copied)

def damaged(kind, folder): # one way to damage a checkpoint
    path = folder/'model.safetensors'
    weights = load_file(path)
    name = max(weights, key=lambda k: weights[k].numel())
    if kind == 'missing':
        weights.pop(name)
    elif kind == 'shape':
        weights[name] = weights[name].flatten()[:1]
    elif kind == 'int':
        weights[name] = weights[name].int()
    elif kind == 'nan':
        weights[name].fill_(torch.nan)
    elif kind == 'more':
        weights['stranger'] = torch.zeros(2)
    save_file(weights, path)

@pytest.mark.parametrize('kind', ['missing', 'shape', 'int', 'nan', 'more'])
def test_damaged_weights(copied, kind):
    damaged(kind, copied/'last')
    assert 'step-00000003' in one_line(lambda: go_on(copied), 'is damaged')
    one_line(lambda: load_model(copied), 'weights do not fit')
    resealed(copied/'last')
    one_line(lambda: go_on(copied), 'does not hold what this run needs')

@pytest.mark.parametrize('state', [dict(skipped='x'), dict(seconds=[]), dict(processes='one'), dict(sources=3), dict(data=[]),
                                   dict(resumed=[3]), dict(step=99), dict(step=-1), dict(step='x'), dict(step=True)])
def test_edited_state(copied, state):
    edit_json(copied/'last/state.json', **state)
    one_line(lambda: go_on(copied))
    resealed(copied/'last')
    one_line(lambda: go_on(copied))

@pytest.mark.parametrize('name', ['state.safetensors', 'state.json', 'config.json', 'checksums.json', 'model.safetensors'])
@pytest.mark.parametrize('how', ['gone', 'empty', 'pipe', 'folder', 'deep', 'zeros'])
def test_files_of_a_checkpoint_that_are_none(copied, name, how):
    path = copied/'last'/name
    path.unlink()
    make = dict(gone=lambda: 0, empty=path.touch, pipe=lambda: os.mkfifo(path), folder=path.mkdir,
                deep=lambda: path.write_text('['*200_000), zeros=lambda: path.write_bytes(bytes(1000)))
    make[how]()
    one_line(lambda: go_on(copied))
    if name in ('config.json', 'model.safetensors'):
        one_line(lambda: load_model(copied))

@pytest.mark.parametrize('config', [dict(lr='x'), dict(lr=-1), dict(batch=None), dict(scales=['a']), dict(scales={}), dict(system=3),
                                    dict(system='x'), dict(model=[]), dict(model='tcl:/dev/zero'), dict(seed=10**30), dict(steps=1e9),
                                    dict(model='~nobody/x'), dict(model='tcl:~nobody/x'), dict(stranger=1), dict(kernel=10**6)])
def test_edited_config(copied, config):
    edit_json(copied/'last/config.json', **config)
    one_line(lambda: load_model(copied))
    one_line(lambda: go_on(copied))

def test_a_config_that_asks_for_a_pickle(copied, monkeypatch):
    monkeypatch.delenv('MGCA_TRUST_PICKLED', raising=False)
    ran = copied/'ran'
    (copied/'evil.pt').write_bytes(f'cos\nsystem\n(S"touch {ran}"\ntR.'.encode())
    for model in (f'open_clip:ViT-B-16/pickled:{copied}/evil.pt', f'open_clip:ViT-B-16/{copied}/evil.pt'):
        edit_json(copied/'last/config.json', model=model)
        assert 'weights_only' not in one_line(lambda: load_model(copied)).replace('read with weights_only=True', '')
        assert not ran.exists()

def test_models_named_in_strange_ways():
    for name in ('x'*300, 'a\0b', '~nobody/x', 'tcl:~nobody/x', 'tcl:' + 'x'*300, 'tcl:/dev/zero', 'tcl:/', 'open_clip:', 'pickled:x', ':'):
        one_line(lambda n=name: load_model(n))

@pytest.mark.parametrize('text', [b'', b'[]', b'{}', b'{"captions": ["a"], "arrays": ["x"]}', b'{"captions": [3], "arrays": ["x"]}',
                                  b'['*100_000, b'{"captions": ["a", "b", "c"], "arrays": ["../x"]}', b'\xff'])
def test_kept_features_that_were_edited(tmp_path, text):
    def make(folder):
        np.save(folder/'x.npy', np.zeros((2, 3), np.float16))
        return dict(x=0), ['a fox', 'a hat']
    kept, captions = kept_features(tmp_path, 'key', make)
    assert captions == ['a fox', 'a hat'] and kept['x'].shape == (2, 3)
    place, = tmp_path.iterdir()
    del kept
    if b'"a"], "arrays": ["x"]' in text:
        (place/'x.npy').write_bytes(b'\x80\x04N.')  # a pickle
    (place/'captions.json').write_bytes(text)
    one_line(lambda: kept_features(tmp_path, 'key', make), 'remove that folder')

def test_kept_features_that_are_not_finite(tmp_path):
    def make(folder):
        np.save(folder/'x.npy', np.full((2, 3), np.nan, np.float16))
        return dict(x=0), ['a fox', 'a hat']
    one_line(lambda: kept_features(tmp_path, 'key', make), 'not finite')

def test_a_list_that_would_run_a_command(tmp_path):
    (tmp_path/'list.txt').write_text(f'pipe:touch {tmp_path}/ran')
    one_line(lambda: open_source(str(tmp_path/'list.txt')), 'wants to run a command')
    assert not (tmp_path/'ran').exists()

def test_100_000_files_of_one_sample(tmp_path):
    with tarfile.open(tmp_path/'a.tar', 'w') as tar:
        for i in range(100_000):
            tar.addfile(tarfile.TarInfo(f'a.{i}'))
    t0 = time.thread_time()
    assert [str(s) for s in read_tar(tmp_path/'a.tar')] == ['truncated_tar'] and time.thread_time() - t0 < 1

@pytest.mark.parametrize('text', ['kernel=31', 'batch=16384'])
def test_settings_that_would_take_minutes_a_step(text):
    one_line(lambda: configure([text], system='tcl'), 'must lie between')

@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='this system has no such device')
def test_nobody_reads_what_training_says(tmp_path):
    "The model is there, and the exit code says that lines are missing"
    command = [Path(sys.executable).parent/'mgca_train', '--size', 'mini', '--steps', '2', '--batch', '8', '--out', tmp_path/'run', '--set',
               'cached_features=240']
    with open('/dev/full', 'w') as full:
        p = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, env=dict(os.environ, HF_HUB_OFFLINE='1'))
    assert p.returncode == 1 and len(p.stderr.splitlines()) == 1 and 'not all lines could be printed' in p.stderr
    assert step_of(tmp_path/'run/last') == 2

def test_an_out_folder_whose_name_is_no_text(tmp_path):
    out = tmp_path/os.fsdecode(b'run-\xff')
    train(configure(**SMALL), out, progress=False)
    assert load_model(out).cfg.steps == 3

def test_data_whose_name_is_no_text():
    one_line(lambda: configure(data=os.fsdecode(b'photos-\xff')), 'no text in UTF-8')

@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves(tmp_path, signum):
    out = tmp_path/'run'
    p = subprocess.Popen([BIN/'mgca_train', '--out', out, '--steps', '5000', '--batch', '4', '--device', 'cpu',
                          '--set', 'cached_features=64'], env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    until = time.time() + 90
    while time.time() < until and not ((out/'log.jsonl').exists() and (out/'log.jsonl').stat().st_size):
        time.sleep(.1)
    p.send_signal(signum)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 128 + signum and len(err.strip().splitlines()) == 1 and 'go on with --resume' in err, err
    step = step_of(out/'last')
    assert step and f'stopped at step {step} of 5000' in err
    go_on(out, steps=step + 1)

# ---- random inputs

WORST = dict(n=0, seconds=0., memory=0)

def peak(anew=False): # bytes this process has held at most, since it was asked with `anew`
    if anew:
        Path('/proc/self/clear_refs').write_text('5')
    return 1024*int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])

def bounded(call): # what it returns, or 'UserError'; nothing else may happen, and not for long
    before, t0 = peak(anew=True), time.time()
    try:
        out = call()
    except UserError as e:
        assert '\n' not in str(e).strip()
        out = 'UserError'
    took, memory = time.time() - t0, peak() - before
    WORST.update(n=WORST['n'] + 1, seconds=max(WORST['seconds'], took), memory=max(WORST['memory'], memory))
    assert took < SECONDS and memory < MEMORY, (took, memory)  # beside what the test holds: torch, datasets, two runs
    return out

def random(*strategies):
    how = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    return lambda f: how(given(*strategies)(f))

@st.composite
def mutated(draw, *valid): # bytes near one of some valid files
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        how = draw(st.sampled_from(['flip', 'cut', 'insert', 'end', 'copy', 'max']))
        if how == 'flip' and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == 'max' and data:
            data[at:at + 4] = draw(st.sampled_from([b'\xff'*4, b'\x7f\xff\xff\xff', b'\0'*4, b'7777', b'9999']))
        elif how == 'cut':
            del data[at:at + draw(st.integers(1, 600))]
        elif how == 'insert':
            data[at:at] = draw(st.binary(max_size=60))
        elif how == 'end':
            del data[at:]
        else:
            data[at:at] = data[at:at + draw(st.integers(1, 600))]
    return bytes(data)

def near(*valid): return st.one_of(mutated(*valid), mutated(*valid), mutated(*valid), st.binary(max_size=2000))

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-10**20, 10**20), st.floats(), st.text(max_size=9), st.just([]), st.just({}),
                    st.just('\ud800'), st.just([[1], 'x']), st.just({'a': {'b': []}}), st.just(10**400))
SCALARS = SCALARS.map(copy.deepcopy)  # they are altered further

@st.composite
def altered(draw, tree): # a JSON tree with some values of other kinds
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        node = tree
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(node[key], (dict, list)) and node[key] and draw(st.booleans()):
                node = node[key]
                continue
            how = draw(st.sampled_from(['value', 'value', 'value', 'gone', 'new']))
            if how == 'value':
                node[key] = draw(SCALARS)
            elif how == 'gone':
                del node[key]
            elif isinstance(node, dict):
                node[draw(st.text(max_size=9))] = draw(SCALARS)
            break
    return tree

def dumped(tree): return json.dumps(tree).encode()

def photo(kind, mode='RGB', size=(24, 18), **kw):
    b = io.BytesIO()
    Image.new(mode, size).save(b, kind, **kw)
    return b.getvalue()

PHOTOS = [PHOTO, photo('PNG'), photo('PNG', 'P'), photo('PNG', 'I;16'), photo('WEBP'), photo('GIF', 'P'), photo('BMP'), photo('TIFF'),
          photo('TIFF', compression='tiff_lzw'), photo('TIFF', 'F'), photo('PPM'), photo('TGA'), photo('ICO'), photo('JPEG', 'CMYK'),
          photo('EPS'), photo('JPEG2000')]

@random(near(*PHOTOS))
def test_random_images(data):
    def read():
        stream = CaptionStream(None, size=32)
        out = stream.usable(0, 0, captioned(data, 'a fox'), 0)
        assert isinstance(out, Trouble) or out[0].shape == (32, 32, 3) and out[0].dtype == np.uint8
    bounded(read)

def tarred(fmt): # bytes
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode='w', format=fmt) as t:
        for name, data in [('a.jpg', PHOTO), ('a.txt', b'a fox'), ('b'*120 + '.png', PHOTOS[1]),
                           ('b'*120 + '.json', b'{"caption": "a hat"}')]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return b.getvalue()

TARS = [tarred(tarfile.GNU_FORMAT), tarred(tarfile.PAX_FORMAT), gzip.compress(tarred(tarfile.GNU_FORMAT))]

@random(near(*TARS))
def test_random_shards(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp()/'random.tar'
    path.write_bytes(data)
    def read():
        for s in read_tar(path):
            assert isinstance(s, Trouble) or isinstance(s[0], bytes) and all(isinstance(c, str) for c in s[1])
    bounded(read)

TABLES = [b'path,caption\na.jpg,a fox\na.jpg,an animal\nb.jpg,"a hat, or ""two"""\n',
          b'\xef\xbb\xbfurl,title\r\nb.jpg,caf\xc3\xa9\r\n,\r\n']

@random(near(*TABLES), st.sampled_from(['.csv', '.tsv']))
def test_random_tables(tmp_path_factory, data, ending):
    folder = tmp_path_factory.getbasetemp()
    (folder/'a.jpg').write_bytes(PHOTO)
    path = folder/f'random{ending}'
    path.write_bytes(data.replace(b'://', b':/'))  # nobody is called
    def read():
        source = open_source(path)
        list(source.captions())
        source.fingerprint()
        for u in source.units:
            assert all(isinstance(s, (Trouble, tuple)) for s in source.read(u))
    bounded(read)

@pytest.fixture(scope='module')
def parquet(tmp_path_factory): # bytes of a file
    datasets = pytest.importorskip('datasets')
    features = datasets.Features(image=datasets.Image(), caption=datasets.Value('string'))
    path = tmp_path_factory.mktemp('parquet')/'0.parquet'
    datasets.Dataset.from_dict(dict(image=[dict(bytes=PHOTO, path=None)]*3, caption=['a fox']*3), features=features).to_parquet(path)
    return path.read_bytes()

@random(st.data())
def test_random_parquet_files(tmp_path_factory, parquet, data):
    folder = tmp_path_factory.getbasetemp()/'parquet'
    folder.mkdir(exist_ok=True)
    (folder/'0.parquet').write_bytes(data.draw(near(parquet)))
    (folder/'1.parquet').write_bytes(parquet)
    def read():
        source = open_source(folder)
        found = [said(source.read(u)) for u in source.units]
        assert ['a fox'] in sum(found, []), 'the good file is read'
    bounded(read)

CELLS = st.one_of(SCALARS, st.binary(max_size=50),
                  st.fixed_dictionaries({}, optional=dict(bytes=SCALARS, path=SCALARS)), st.just('/dev/zero'))

@random(CELLS, st.one_of(SCALARS, st.lists(SCALARS), st.text(max_size=30)))
def test_random_rows(image, caption):
    out = bounded(lambda: column_sample(image, caption))
    assert isinstance(out, Trouble) or isinstance(out[0], bytes)

@random(st.one_of(st.text(), st.lists(st.text(alphabet="aefhostx .,'-\n\ud800é\0", max_size=40)).map('\n'.join), st.lists(SCALARS)))
def test_random_captions(said):
    lexicon = NounLexicon(['fox', 'hat'], ['fox hat'])
    def read():
        out = captioned(PHOTO, said)
        if not isinstance(out, Trouble):
            text = '\n'.join(out[1])
            assert all(isinstance(n, str) for n in lexicon(text))
            NounLexicon.fit([text]*3, min_count=1)(text)
            text.encode()
    bounded(read)

NAMES = ['lr', 'batch', 'steps', 'model', 'system', 'size', 'scales', 'kernel', 'seed', 'image_size', 'k_pix', 'k_n', 'regions', 'hard',
         'precision', 'eps', 'workers', 'shuffle', 'data', 'x', '', 'ema', 'tau_obj']
VALUES = st.one_of(st.text(max_size=12), st.integers().map(str), st.floats().map(str), st.sampled_from(['mini', 'cc3m', 'tiny', 'lite']))

@random(st.lists(st.builds('{}{}{}'.format, st.sampled_from(NAMES), st.sampled_from(['=', '=', '=', '', '==']), VALUES)))
def test_random_settings(texts):
    texts = [t for t in texts if not t.startswith(('model=hf', 'model=open'))]
    bounded(lambda: configure(texts))

@random(st.data())
def test_random_configs(run, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()/'config'
    if not folder.exists():
        shutil.copytree(run/'last', folder)
    valid = json.loads((run/'last/config.json').read_text())
    wild = data.draw(st.one_of(altered(valid).map(dumped), altered(valid).map(dumped), near(dumped(valid))))
    (folder/'config.json').write_bytes(wild)
    bounded(lambda: load_model(folder))

@pytest.fixture(scope='module')
def waiting(tmp_path_factory): # a `Run` that takes up checkpoints, and the folder of one
    "A checkpoint of a stream, whose state holds more"
    out = tmp_path_factory.mktemp('waiting')/'run'
    cfg = configure(steps=3, batch=4, cached_features=0)
    train(cfg, out, progress=False)
    return Run(cfg, out, progress=False), out

@random(st.data())
def test_random_states(waiting, data):
    "Also of those who know of the checksums"
    again, out = waiting
    path = out/'last/state.json'
    whole = path.read_bytes()
    valid = json.loads(whole)
    wild, sealed = data.draw(st.one_of(altered(valid).map(dumped), altered(valid).map(dumped), near(whole))), data.draw(st.booleans())
    path.write_bytes(wild)
    if sealed:
        resealed(out/'last')
    try:
        bounded(lambda: again.take_up(load_checkpoint(out, again.cfg)))
    finally:
        path.write_bytes(whole)
        resealed(out/'last')

@random(st.data())
def test_random_checkpoints(waiting, data):
    again, out = waiting
    name = data.draw(st.sampled_from(['state.safetensors', 'model.safetensors']))
    path = out/'last'/name
    whole = path.read_bytes()
    head = int.from_bytes(whole[:8], 'little')
    tree = json.loads(whole[8:8 + head])
    def packed(tree):
        text = dumped(tree)
        return len(text).to_bytes(8, 'little') + text + whole[8 + head:]
    edited = mutated(whole[:8 + head]).map(lambda b: b + whole[8 + head:])
    wild, sealed = data.draw(st.one_of(altered(tree).map(packed), edited, near(whole))), data.draw(st.booleans())
    path.write_bytes(wild)
    if sealed:
        resealed(out/'last')
    try:
        bounded(lambda: again.take_up(load_checkpoint(out, again.cfg)))
        if name == 'model.safetensors':
            bounded(lambda: load_model(out/'last'))
    finally:
        path.write_bytes(whole)
        resealed(out/'last')

@random(near(b'PK\x03\x04', b'\x80\x02}q\0.'))
def test_random_released_files(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp()/'released.pth'
    path.write_bytes(data)
    bounded(lambda: load_model(f'tcl:{path}'))

def test_worst_of_the_random_inputs():
    print(f"{WORST['n']} random inputs, at most {WORST['seconds']:.2f} s and {WORST['memory']/2**30:.2f} GiB more, "
          f'of {peak()/2**30:.2f} in all')
    assert WORST['seconds'] < SECONDS and WORST['memory'] < MEMORY
