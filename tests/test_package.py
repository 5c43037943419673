"The wheel: complete, declared, and without its tests, notebooks or anybody's data."
import ast
import os
import re
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTION = dict(PIL='pillow', open_clip='open_clip_torch', skimage='scikit-image') # where an import has another name

def requirements(): # dict of extra ('' for none) -> dict of distribution -> text of the requirement
    parser = ConfigParser(delimiters=['='])
    parser.read(ROOT/'settings.ini')
    out = {}
    for key, text in parser['DEFAULT'].items():
        if key.endswith('requirements'):
            out[key.removesuffix('requirements').rstrip('_')] = {re.split('[<>=!~ ]', r)[0].lower(): r for r in text.split()}
    return out

@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp('wheel')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '-q', '-w', out, ROOT], check=True)
    return next(out.glob('*.whl'))

def test_wheel_contents(wheel):
    with zipfile.ZipFile(wheel) as z:
        names = z.namelist()
    for f in (ROOT/'mgca').rglob('*'):
        if f.is_file() and '__pycache__' not in f.parts:
            assert f'{f.relative_to(ROOT)}' in names, f
    assert any(n.endswith(('licenses/NOTICE', '/NOTICE')) for n in names)
    assert not [n for n in names if n.startswith(('tests', 'nbs'))]
    assert wheel.stat().st_size < 12e6

def test_wheel_runs_on_its_own(wheel, tmp_path):
    "Unpacked away from the checkout, it draws a scene and names what is in it"
    with zipfile.ZipFile(wheel) as z:
        z.extractall(tmp_path)
    code = ('import mgca; from mgca import segment, load_model, TrainConfig; from mgca.data.scenes import SceneBenchmark; '
            'img = list(SceneBenchmark(2))[0][1]; print(mgca.__file__, segment(img, ["fox", "grass"]), TrainConfig().steps)')
    env = {'PYTHONPATH': str(tmp_path), 'PATH': '', 'HF_HUB_OFFLINE': '1'}
    p = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, text=True, capture_output=True, env=env)
    assert p.returncode == 0, p.stderr
    assert str(tmp_path) in p.stdout

def imported(path): # (top-level name, is it imported when the module is?)
    tree = ast.parse(path.read_text())
    top = {id(n) for n in tree.body}
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        if isinstance(node, ast.Call) and ast.unparse(node.func) == 'optional' and isinstance(node.args[0], ast.Constant):
            names = [node.args[0].value]  # imported when needed, by `core.base.optional`
        for n in names:
            yield n.split('.')[0], id(node) in top

def test_what_is_imported_is_declared():
    "Imported at once: a requirement. Imported when needed: a requirement of an extra"
    declared = requirements()
    every = {d for ds in declared.values() for d in ds}
    for path in (ROOT/'mgca').rglob('*.py'):
        for name, at_once in imported(path):
            if name in sys.stdlib_module_names or name in ('mgca', 'IPython'):
                continue
            wanted = DISTRIBUTION.get(name, name).lower().replace('_', '-')
            known = {d.replace('_', '-') for d in (declared[''] if at_once else every)}
            kind = 'as a requirement' if at_once else 'at all'
            assert wanted in known, f'{path.name} imports {name}, which settings.ini does not declare {kind}'

def test_design_card():
    "The packages the project is built on stay named"
    every = {d for ds in requirements().values() for d in ds}
    assert {'torch', 'jupyterlab', 'nbdev', 'ipywidgets', 'open_clip_torch', 'fastcore', 'matplotlib', 'datasets'} <= every

@pytest.mark.skipif('MGCA_VERSIONS' not in os.environ, reason='installs several GB: MGCA_VERSIONS=1 pytest tests/test_package.py')
@pytest.mark.parametrize('kind', ['oldest', 'newest'])
def test_versions(kind, tmp_path):
    "The oldest versions that settings.ini allows, and the newest that resolve, train and segment"
    wanted = requirements()['']
    pins = [re.sub('>=', '==', r.split(',')[0]) if kind == 'oldest' and '>=' in r else r for r in wanted.values()]
    subprocess.run([sys.executable, '-m', 'venv', tmp_path/'env'], check=True)
    python = tmp_path/'env/bin/python'
    subprocess.run([python, '-m', 'pip', 'install', '-q', *pins], check=True)
    subprocess.run([python, '-m', 'pip', 'install', '-q', '--no-deps', ROOT], check=True)
    subprocess.run([python, '-m', 'pip', 'check'], check=True)
    for command in (['mgca_train', '--out', 'run', '--steps', '3', '--batch', '8', '--device', 'cpu'],
                    ['mgca_eval', '--model', 'run', '--limit', '3', '--device', 'cpu'], ['mgca_quickstart', '--minutes', '.1']):
        p = subprocess.run([tmp_path/'env/bin'/command[0], *command[1:]], cwd=tmp_path, text=True, capture_output=True)
        assert p.returncode == 0, p.stderr
