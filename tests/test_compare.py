"`mgca_compare` as it happens: killed in the middle, stopped by hand, started again."
import json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest

BIN = Path(sys.executable).parent
ENV = dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', MPLBACKEND='agg')
ROWS = 'maskclip,mgca'

def start(out, rows=ROWS):
    few = '--seeds', '1', '--steps', '2', '--scenes', '2', '--jobs', '1'
    return subprocess.Popen([BIN/'mgca_compare', '--only', rows, *few, '--out', out], env=ENV, text=True, start_new_session=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

def finish(out, rows=ROWS):
    p = start(out, rows)
    said = p.communicate(timeout=600)[0]
    assert p.returncode == 0, said
    return said

def judged(out): # what does not depend on the clock
    rows = json.loads((Path(out)/'compare.json').read_text())['rows']
    return {n: (r['0']['sets'], r['0']['behind'], r['0']['parameters']) for n, r in rows.items()}

@pytest.fixture(scope='module')
def whole(tmp_path_factory): # a comparison that was left alone
    out = tmp_path_factory.mktemp('whole')
    finish(out)
    return out

def alone(p): # is nobody left of its processes?
    try:
        os.killpg(p.pid, 0)
    except ProcessLookupError:
        return True
    return False

@pytest.mark.parametrize('signum', [signal.SIGKILL, signal.SIGTERM])
def test_stopped_and_started_again(whole, tmp_path, signum):
    "What was done is left alone, what was under way is done anew, and the table is the same to the last digit"
    first, p = tmp_path/'runs/maskclip-0.json', start(tmp_path)
    until = time.time() + 300
    while not first.exists() and time.time() < until:
        assert p.poll() is None, p.communicate()[0]
        time.sleep(.05)
    os.killpg(p.pid, signum) if signum == signal.SIGKILL else os.kill(p.pid, signum)
    said = p.communicate(timeout=60)[0]
    assert p.returncode != 0 and not (tmp_path/'compare.json').exists()
    if signum != signal.SIGKILL:
        assert p.returncode == 128 + signum and 'Traceback' not in said, said
        until = time.time() + 10
        while not alone(p) and time.time() < until:
            time.sleep(.05)
        assert alone(p), 'a run goes on by itself'
    done = first.stat().st_mtime_ns
    assert '1 of 1' in finish(tmp_path)
    assert first.stat().st_mtime_ns == done
    assert judged(tmp_path) == judged(whole)

def test_a_row_that_fails_stops_no_other(tmp_path):
    "Where its counts should go is a folder: the row fails, the next one is done, and the same command makes it good"
    rows = 'maskclip,sclip,naclip'
    (tmp_path/'counts/sclip-0.npz').mkdir(parents=True)
    p = start(tmp_path, rows)
    said = p.communicate(timeout=600)[0]
    assert p.returncode == 1 and 'sclip, seed 0: ended with 1' in said and '1 of 3 runs failed: sclip seed 0' in said
    assert sorted(f.stem for f in (tmp_path/'runs').iterdir()) == ['maskclip-0', 'naclip-0']
    (tmp_path/'counts/sclip-0.npz').rmdir()
    assert '1 of 1' in finish(tmp_path, rows)
    assert list(json.loads((tmp_path/'compare.json').read_text())['rows']) == rows.split(',')
