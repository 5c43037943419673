"The wheel: complete, and without its tests, notebooks or anybody's data."
import subprocess, sys, zipfile
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent

@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp('wheel')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '-q', '-w', out, ROOT], check=True)
    return next(out.glob('*.whl'))

def test_wheel_contents(wheel):
    with zipfile.ZipFile(wheel) as z:
        names = z.namelist()
    for f in (ROOT/'mgca/assets').rglob('*'):
        if f.is_file() and '__pycache__' not in f.parts:
            assert f'{f.relative_to(ROOT)}' in names
    assert any(n.endswith('licenses/NOTICE') or n.endswith('/NOTICE') for n in names)
    assert not [n for n in names if n.startswith(('tests', 'nbs'))]
    assert wheel.stat().st_size < 12e6

def test_wheel_runs_on_its_own(wheel, tmp_path):
    "Unpacked away from the checkout, it draws a scene and loads its CLIP"
    with zipfile.ZipFile(wheel) as z:
        z.extractall(tmp_path)
    code = ('import mgca; from mgca.scenes import SceneBenchmark; from mgca.encoders import load_tiny, encode_text; '
            'assert len(SceneBenchmark(2)) == 2; print(mgca.__file__, encode_text(load_tiny(), ["fox"]).shape)')
    p = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, text=True, capture_output=True, env={'PYTHONPATH': str(tmp_path), 'PATH': '', 'HF_HUB_OFFLINE': '1'})
    assert p.returncode == 0, p.stderr
    assert str(tmp_path) in p.stdout
