"The commands, as a user meets them: in a process of their own."
import json, os, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
import pytest
from PIL import Image

BIN = Path(sys.executable).parent
ENV = dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', MPLBACKEND='agg')

def hear_ctrl_c():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would pass on deafness to it

def start(name, *args, env=None):
    return subprocess.Popen([BIN/name, *map(str, args)], env={**ENV, **(env or {})}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c)

def call(name, *args, env=None):
    p = start(name, *args, env=env)
    out, err = p.communicate(timeout=900)
    return p.returncode, out, err

def one_line(err): return [l for l in err.splitlines() if l.strip()]

@pytest.mark.parametrize('name', ['mgca_quickstart', 'mgca_train', 'mgca_eval', 'mgca_segment', 'mgca_bench', 'mgca_demo', 'mgca_compare'])
def test_help_and_unknown_argument(name):
    code, out, _ = call(name, '--help')
    assert code == 0 and '--seed' in out
    code, _, err = call(name, '--no-such-flag', 'x')
    assert code == 2 and '--no-such-flag' in one_line(err)[-1] and 'Traceback' not in err

def test_mgca_lists_the_commands():
    from mgca.core.entry import doors
    code, out, err = call('mgca', '--help')
    assert code == 0 and not err
    listed = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith('  ')]
    assert [name for name, _ in listed] == [*doors()] and all(len(told) > 10 for _, told in listed)
    assert call('mgca') == (0, out, '')
    code, _, err = call('mgca', '--no-such-flag')
    assert code == 2 and len(one_line(err)) == 1

def test_out_that_cannot_be_a_folder(tmp_path):
    (tmp_path/'file').write_text('x')
    code, _, err = call('mgca_quickstart', '--out', tmp_path/'file'/'report')
    assert code != 0 and len(one_line(err)) == 1 and 'cannot create folder' in err

def test_missing_asset(tmp_path):
    "A copy of the package without its drawings says so in one line"
    import mgca, shutil
    shutil.copytree(Path(mgca.__file__).parent, tmp_path/'mgca', ignore=shutil.ignore_patterns('sprites_google.webp', '__pycache__'))
    code = 'import sys; sys.argv = ["mgca_quickstart", "--out", "o"]; from mgca.apps.quickstart import main; main()'
    p = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=dict(ENV, PYTHONPATH=str(tmp_path)), text=True, capture_output=True)
    assert p.returncode != 0 and len(one_line(p.stderr)) == 1 and 'sprites_google.webp' in p.stderr

def test_hub_out_of_reach(tmp_path):
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path/'a.png')
    code, _, err = call('mgca_segment', tmp_path/'a.png', '--classes', 'fox', '--model', 'open_clip:ViT-B-16/laion2b_s34b_b88k',
                        '--out', tmp_path/'o', env=dict(HF_HOME=str(tmp_path)))
    assert code == 1 and len(one_line(err)) == 1 and 'https://huggingface.co/laion' in err and '--model tiny' in err

def test_quickstart_repeats_itself(tmp_path):
    for d in 'ab':
        code, out, err = call('mgca_quickstart', '--out', tmp_path/d, '--minutes', .2)
        assert code == 0, err
    a, b = (json.loads((tmp_path/d/'report.json').read_text()) for d in 'ab')
    assert a['miou'] == b['miou']
    assert set(a['miou']) == {'maskclip', 'image', 'tcl', 'mgca'} and set(a['miou']['mgca']) == {'pixel', 'group', 'adaptive'}
    page = (tmp_path/'a/report.html').read_text()
    assert 'Failure' in page and 'src="data:image/png' in page and 'src="http' not in page
    assert any((tmp_path/'a').glob('*.png'))
    photo = tmp_path/'scene.png'
    Image.fromarray(np.full((96, 120, 3), 90, np.uint8)).save(photo)
    code, _, err = call('mgca_segment', photo, '--classes', 'fox; grass|lawn', '--model', tmp_path/'a/model', '--out', tmp_path/'masks')
    assert code == 0, err
    assert np.asarray(Image.open(tmp_path/'masks/scene.label.png')).shape == (96, 120)

@pytest.mark.parametrize('after', [1, 12])
def test_ctrl_c_leaves_nothing_half_written(tmp_path, after):
    p = start('mgca_quickstart', '--out', tmp_path/'q', '--minutes', 2)
    for _ in range(600):  # seconds count from when the program runs, however slowly its imports load
        if (tmp_path/'q').exists():
            break
        time.sleep(.1)
    time.sleep(after)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 130 and 'Traceback' not in err
    left = [f.name for f in (tmp_path/'q').rglob('*')] if (tmp_path/'q').exists() else []
    assert left == []

def test_train_resume_eval(tmp_path):
    args = ['--out', tmp_path/'run', '--set', 'cached_features=200', '--device', 'cpu']
    code, _, err = call('mgca_train', *args, '--steps', 6, '--batch', 16)
    assert code == 0, err
    card = json.loads((tmp_path/'run/run.json').read_text())
    assert card['step'] == 6 and card['samples']['good'] >= 200
    rows = [json.loads(l) for l in (tmp_path/'run/log.jsonl').read_text().splitlines()]
    assert [r['step'] for r in rows] == [*range(1, 7)] and {'loss', 'losses', 'lr', 'seconds', 'samples'} <= set(rows[0])
    code, _, err = call('mgca_eval', '--data', 'scenes', '--model', tmp_path/'run', '--limit', 10, '--json', tmp_path/'e.json')
    assert code == 0, err
    result = json.loads((tmp_path/'e.json').read_text())
    assert 0 <= result['miou'] <= 1 and result['images'] == 10 and result['protocol_hash']
    code, _, err = call('mgca_train', *args, '--steps', 9, '--batch', 16, '--resume')  # more steps than before
    assert code == 0, err
    rows = [json.loads(line) for line in (tmp_path/'run/log.jsonl').read_text().splitlines()]
    assert [r['step'] for r in rows] == [*range(1, 10)] and rows[6]['changed'] == dict(steps=[6, 9])
    code, _, err = call('mgca_train', *args, '--steps', 9, '--batch', 8, '--resume')
    assert code == 1 and 'another batch' in one_line(err)[-1]

def test_bad_photos_are_reported_and_the_rest_go_on(tmp_path):
    Image.fromarray(np.zeros((50, 70), np.uint8)).save(tmp_path/'grey.png')
    (tmp_path/'broken.jpg').write_bytes(b'not a picture')
    photos = [tmp_path/n for n in ('broken.jpg', 'grey.png', 'gone.png')]
    code, _, err = call('mgca_segment', *photos, '--classes', 'fox; snow', '--out', tmp_path/'o')
    assert code == 1 and 'broken.jpg' in err and 'gone.png' in err and 'Traceback' not in err
    made = json.loads((tmp_path/'o/grey.json').read_text())
    assert made['size'] == [70, 50]
    assert abs(sum(c['area'] for c in made['classes'].values()) - 1) < 1e-6
