"What a person types in Python, and what the repository says of itself: README's lines run, hints resolve, badges and versions agree."
import inspect
import os
import re
import typing
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pytest

import mgca
from mgca.core.entry import doors

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT/'README.md').read_text(encoding='utf-8')
CFG = ConfigParser(delimiters=['='])
CFG.read(ROOT/'settings.ini', encoding='utf-8')
CFG = CFG['DEFAULT']

def public(): # name -> function or class that `from mgca import ...` hands out
    from mgca.eval.evaluate import evaluate
    from mgca.segment.segmenter import segment
    from mgca.train.loop import train
    return {**{n: getattr(mgca, n) for n in mgca._PUBLIC}, 'segment': segment, 'train': train, 'evaluate': evaluate}

def test_readme_lines(tmp_path, monkeypatch):
    "The first Python of README, as printed, on a photograph of that name"
    data = pytest.importorskip('skimage.data')
    from PIL import Image
    Image.fromarray(data.chelsea()).save(tmp_path/'photo.jpg')
    monkeypatch.chdir(tmp_path)
    lines = re.search(r'```python\n(.+?)\n```', README, re.S)[1]
    assert len(lines.splitlines()) == 3 and README.index(lines) < 1500, 'three lines, on the first screen'
    names = {}
    exec(lines, names)
    seg = names['seg']
    assert seg.overlay().shape == data.chelsea().shape and seg.overlay().dtype == np.uint8
    assert set(seg.masks()) <= {'dog', 'grass|lawn', 'sky'} and seg.masks()

@pytest.mark.parametrize('name', sorted({*mgca._PUBLIC, 'segment', 'train', 'evaluate'}))
def test_hints(name):
    "Every parameter of what a person calls has a type, and it can be looked up"
    thing = public()[name]
    f = thing.__init__ if inspect.isclass(thing) else thing
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return
    hints = typing.get_type_hints(f)
    named = [p for p in inspect.signature(f).parameters if p != 'self']
    assert named and set(named) <= set(hints), f'{name}: {set(named) - set(hints)}'
    assert inspect.isclass(thing) or 'return' in hints

def test_types_are_announced():
    "`from mgca import name` is known to type checkers, too"
    text = (ROOT/'mgca/__init__.py').read_text()
    seen = text[text.index('if TYPE_CHECKING'):text.index('_PUBLIC')]
    assert all(re.search(rf'\b{n}\b', seen) for n in [*mgca._PUBLIC, 'segment'])
    assert (ROOT/'mgca/py.typed').is_file()

def test_commands_are_those_of_settings():
    scripts = dict(s.split('=') for s in CFG['console_scripts'].split())
    assert scripts.pop('mgca') == 'mgca.core.entry:list_commands'
    assert scripts == {name: f'mgca.core.entry:{name}' for name in doors()}

def test_badges_tell_the_truth():
    yaml = pytest.importorskip('yaml')
    job = yaml.safe_load((ROOT/'.github/workflows/ci.yaml').read_text())['jobs']['test']
    tried = job['strategy']['matrix']['python']
    assert f'Python-{tried[0]}_to_{tried[-1]}-' in README and tried[0] == CFG['min_python']
    assert 'licence-Apache--2.0-' in README and CFG['license'] == 'apache2' and 'Apache License' in (ROOT/'LICENSE').read_text()
    assert f"{CFG['git_url']}/actions/workflows/ci.yaml/badge.svg" in README
    assert os.path.exists(ROOT/'.github/workflows/ci.yaml') and 'pypi' not in README.lower()

def test_versions_agree():
    yaml = pytest.importorskip('yaml')
    cite = yaml.safe_load((ROOT/'CITATION.cff').read_text(encoding='utf-8'))
    assert cite['version'] == CFG['version'] == mgca.__version__
    changes = (ROOT/'CHANGELOG.md').read_text(encoding='utf-8')
    assert re.findall(r'^## (.+)$', changes, re.M)[:2] == ['Unreleased', CFG['version']]
    assert '2210.06044' in cite['abstract'] and '2403.03707' in cite['message']
