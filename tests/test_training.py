"Training as it happens: killed, out of room, on several processes, on data full of faults."
import io, json, multiprocessing, os, resource, signal, subprocess, sys, tarfile, time
from pathlib import Path
import numpy as np
import pytest, torch
from PIL import Image
from mgca.core.base import UserError
from mgca.data.sources import write_shard
from mgca.systems.registry import build, configure
from mgca.data.scenes import SceneCaptions
from mgca.train.checkpoint import step_of
from mgca.train.loop import train
from mgca.train.source import data_source

torch.set_num_threads(1)  # children are forked, which OpenMP only survives with one thread
fork = multiprocessing.get_context('fork')
BIN, ENV = Path(sys.executable).parent, dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1')

def start(f, *args):
    p = fork.Process(target=f, args=args)
    p.start()
    return p

def jpeg(img): # (3,H,W) uint8 tensor
    b = io.BytesIO()
    Image.fromarray(img.permute(1, 2, 0).numpy()).save(b, 'JPEG')
    return b.getvalue()

@pytest.fixture(scope='module')
def shards(tmp_path_factory): # six shards of forty captioned scenes
    folder = tmp_path_factory.mktemp('shards')
    for n in range(6):
        imgs, captions = SceneCaptions(batch=40, size=96, seed=5)[n]
        samples = {f'{i:03d}': dict(jpg=jpeg(img), txt=caption.encode()) for i, (img, caption) in enumerate(zip(imgs, captions))}
        write_shard(folder/f'{n}.tar', samples)
    return str(folder/'*.tar')

def size_of(path): return path.stat().st_size if path.exists() else 0

def losses(out):
    return [json.loads(line)['loss'] for line in (Path(out)/'log.jsonl').read_text().splitlines()]

def test_killed_ten_times(shards, tmp_path):
    "kill -9 at a random moment, ten times: the same losses as a run that was left alone, to the last bit"
    cfg = configure(data=shards, cached_features=0, workers=1, shuffle=30, batch=8, steps=24, ema=.9, unfreeze=.5, microbatches=2)
    p = start(train, cfg, tmp_path/'whole')
    p.join()
    assert p.exitcode == 0
    rng, kills, out = np.random.default_rng(), 0, tmp_path/'run'
    def go_on(): train(cfg, out, resume=True, save_every=2, progress=False)
    while kills < 10:
        p = start(go_on)
        logged = size_of(out/'log.jsonl')
        until = time.time() + 60  # let it get to work, then kill it anywhere
        while p.is_alive() and time.time() < until and size_of(out/'log.jsonl') in (0, logged):
            time.sleep(.01)
        p.join(rng.uniform(0, .4))
        if p.exitcode == 0:
            break
        os.kill(p.pid, signal.SIGKILL)
        p.join()
        kills += 1
        if kills < 10 and step_of(out/'last') == cfg.steps:
            break
    p = start(go_on)
    p.join()
    assert p.exitcode == 0
    assert kills >= 5, 'the run was over before it could be killed often'
    assert losses(out) == losses(tmp_path/'whole')
    a, b = (json.loads((f/'run.json').read_text()) for f in (out, tmp_path/'whole'))
    assert a['samples'] == b['samples'] and a['data'] == b['data']
    assert (out/'last/model.safetensors').read_bytes() == (tmp_path/'whole/last/model.safetensors').read_bytes()

def test_disk_full(tmp_path):
    "The old checkpoint survives, the error names the remedy, and the run goes on when there is room"
    def limited():
        def fill(run, row):
            if run.step == 4:
                resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            train(cfg, tmp_path/'run', save_every=2, watch=[fill], progress=False)
        except UserError as e:
            (tmp_path/'error').write_text(str(e))
            os._exit(3)
    cfg = configure(cached_features=96, batch=8, steps=6)
    p = start(limited)
    p.join()
    assert p.exitcode == 3 and 'make room' in (tmp_path/'error').read_text()
    assert json.loads((tmp_path/'run/last/state.json').read_text())['step'] == 2
    assert not [f for f in (tmp_path/'run').iterdir() if f.name.startswith('.') and f.name != '.lock']
    p = start(lambda: train(cfg, tmp_path/'run', resume=True, progress=False))
    p.join()
    assert p.exitcode == 0 and len(losses(tmp_path/'run')) == 6

def several(cfg, folder, world, name): # the weights after training with `world` processes
    def work(rank):
        if world > 1:
            torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meet-{name}', rank=rank, world_size=world)
        model, log = train(cfg, folder/f'run-{name}', progress=False)
        torch.save((model.learned(), [r['loss'] for r in log]), f'{folder}/{name}-{rank}.pt')
        os._exit(0)  # without waiting for each other's goodbyes
    ps = [start(work, r) for r in range(world)]
    for p in ps:
        p.join(300)
    assert [p.exitcode for p in ps] == [0]*world
    return [torch.load(f'{folder}/{name}-{r}.pt') for r in range(world)]

@pytest.mark.parametrize('kind', ['plain', 'pieces', 'late block', 'stream', 'sharded', 'knowledge'])
def test_two_processes_equal_one(kind, tmp_path):
    "Same parameters after five steps as one process with the joined batch"
    if kind == 'knowledge':
        pytest.importorskip('efficientnet_lite_pytorch')
    more = {'plain': {}, 'knowledge': dict(model='lite', microbatches=2), 'pieces': dict(microbatches=3), 'stream': dict(cached_features=0),
            'sharded': dict(cached_features=0, shard=1), 'late block': dict(unfreeze=.4, microbatches=2)}[kind]
    # with a small eps, AdamW would turn the rounding of a gradient that is nearly zero into a whole step
    cfg = configure(steps=5, batch=12, hard='hard', precision='fp32', levels_after=.2, eps=1e-4, **{'cached_features': 96, **more})
    (one, loss), = several(cfg, tmp_path, 1, 'one')
    two = several(cfg, tmp_path, 2, 'two')
    for learned, log in two:
        assert np.allclose(log, loss, atol=1e-4)
        for k, v in one.items():
            torch.testing.assert_close(learned[k], v, atol=1e-4, rtol=1e-4, msg=lambda m, k=k: f'{k}: {m}')
    for k in one:
        assert torch.equal(two[0][0][k], two[1][0][k]), f'{k} drifts apart'  # the reducer knew every parameter

def test_torchrun(shards, tmp_path):
    "The command on two processes, streaming, stopped and resumed, with a tracker's name that nobody has"
    command = [BIN/'mgca_train', '--data', shards, '--out', tmp_path/'run', '--batch', '8', '--steps', '4', '--device', 'cpu']
    settings = ['--set', 'cached_features=0', 'workers=1', 'shuffle=20']
    def run(start, *args):
        return subprocess.run([*start, *command, *args, *settings], env=ENV, text=True, capture_output=True, timeout=300)
    two = [BIN/'torchrun', '--standalone', '--nproc_per_node', '2']
    p = run(two, '--resume')  # there is nothing yet, so it starts
    assert p.returncode == 0, p.stderr
    card = json.loads((tmp_path/'run/run.json').read_text())
    assert card['processes'] == 2 and card['samples']['good'] == 32 and len(losses(tmp_path/'run')) == 4
    p = run(two, '--resume')
    assert p.returncode == 0, p.stderr
    p = run([], '--resume')
    assert p.returncode == 1 and 'trained by 2 processes' in p.stderr and len(p.stderr.strip().splitlines()) == 1

def test_faulty_shards(shards, tmp_path):
    "Training goes on, and the run card counts every kind of trouble"
    good = sorted(Path(shards).parent.glob('*.tar'))
    blank = io.BytesIO()
    Image.new('L', (20_000, 10_000)).save(blank, 'PNG')
    with tarfile.open(good[0]) as t:
        members = [(m.name, t.extractfile(m).read()) for m in t]
    members = [(n, d[:len(d)//3] if n.endswith('jpg') and i//2 % 20 == 0 else d) for i, (n, d) in enumerate(members)]  # 1 in 20
    members += [('x.jpg', members[2][1]), ('x.txt', b''), ('y.png', blank.getvalue()), ('y.txt', b'a fox on the road'),
                ('z.jpg', members[2][1]), ('z.txt', b'caf\xe9')]
    with tarfile.open(tmp_path/'a.tar', 'w') as t:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    (tmp_path/'b.tar').write_bytes(good[1].read_bytes()[:100_000])
    (tmp_path/'c.tar').write_bytes(good[2].read_bytes())
    train(configure(data=str(tmp_path/'*.tar'), cached_features=0, batch=8, steps=20), tmp_path/'run', progress=False)
    counts = json.loads((tmp_path/'run/run.json').read_text())['samples']
    assert counts['bad_image'] >= 2 and all(counts[k] >= 1 for k in ('no_caption', 'huge_image', 'bad_caption', 'truncated_tar')), counts
    assert counts['good'] >= 160 and len(losses(tmp_path/'run')) == 20

def test_old_runs_are_safe(tmp_path):
    "A run folder is not started over by accident, and a kill between two renames loses nothing, whatever is kept"
    cfg = configure(cached_features=96, batch=8, steps=4)
    train(cfg, tmp_path/'run', save_every=2, keep=1, progress=False)
    assert sorted(p.name for p in (tmp_path/'run').iterdir()) == ['.lock', 'last', 'log.jsonl', 'run.json']
    with pytest.raises(UserError, match='4 steps already'):
        train(cfg, tmp_path/'run', progress=False)
    assert len(losses(tmp_path/'run')) == 4
    (tmp_path/'run/last').rename(tmp_path/'run/step-00000004')
    (tmp_path/'run/.saving-x').mkdir()
    _, log = train(cfg, tmp_path/'run', resume=True, progress=False)
    assert len(log) == 4 and not (tmp_path/'run/.saving-x').exists()

def test_stale_features(tmp_path, shards):
    "Features on disk are found again, and not when the data have changed"
    import shutil
    data = tmp_path/'data'
    data.mkdir()
    for p in sorted(Path(shards).parent.glob('*.tar'))[:3]:
        shutil.copy(p, data)
    cfg = configure(data=f'{data}/*.tar', cached_features=60, batch=8, steps=1)
    for expected in (1, 1):
        train(cfg, features=tmp_path/'kept', progress=False)
        assert len(list((tmp_path/'kept').iterdir())) == expected
    (data/'2.tar').unlink()
    train(cfg, features=tmp_path/'kept', progress=False)
    assert len(list((tmp_path/'kept').iterdir())) == 2

@pytest.mark.filterwarnings('ignore:.*random weights')
def test_kept_features_of_each_precision(tmp_path):
    "A system that stands for a published code never reads features that were made with quicker products"
    more = dict(model='open_clip:ViT-S-32-alt', image_size=32, cached_features=300, batch=50)
    quick = build(configure(system='mgca', precision='bf16', **more))
    exact = build(configure(system='tcl', precision='bf16', **more))
    exact.enc.load_state_dict(quick.enc.state_dict())
    assert (quick.products, exact.products) == ('bf16', 'fp32')
    one, two = (data_source(s, features=tmp_path, progress=False).kept['x'] for s in (quick, exact))
    assert np.allclose(one, two, atol=.1) and not np.array_equal(one, two)
    assert len(list(tmp_path.iterdir())) == 2
