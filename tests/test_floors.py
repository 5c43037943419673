"Which folder may import which, and who may name a system."
import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ['core', 'data', 'encoders', 'method', 'systems', 'segment', 'eval', 'train', 'apps']
MODULES = sorted(p for p in (ROOT/'mgca').rglob('*.py') if not p.name.startswith('_'))
IDS = [str(p.relative_to(ROOT/'mgca')) for p in MODULES]

def imported(path): # modules of mgca that a module imports, as (floor, name)
    package = path.parent.name
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            name = node.module or ''
            if node.level == 1:
                name = f'mgca.{package}.{name}'
            elif node.level == 2:
                name = f'mgca.{name}'
            if name.startswith('mgca.'):
                yield name.split('.')[1:3]

def order(floor): # module -> place in reading order
    return {p.stem.split('_', 1)[1]: i for i, p in enumerate(sorted((ROOT/'nbs'/floor).glob('*.ipynb')))}

def test_every_module_has_a_floor():
    assert {p.parent.name for p in MODULES} == set(FLOORS)
    assert {p.name for p in (ROOT/'nbs').iterdir() if p.is_dir()} - {'images', 'results'} == set(FLOORS)

@pytest.mark.parametrize('path', MODULES, ids=IDS)
def test_imports_go_down(path):
    floor, places = path.parent.name, order(path.parent.name)
    for other, *name in imported(path):
        assert FLOORS.index(other) <= FLOORS.index(floor), f'{path} imports {other}'
        if other == floor:
            assert places[name[0]] < places[path.stem], f'{path} imports {name[0]}, which is read later'

def test_notebook_and_module_have_one_name():
    for path in MODULES:
        assert path.stem in order(path.parent.name), path

def chosen(node): # what a piece of syntax would choose a system by: constants and names
    if isinstance(node, ast.keyword) and node.arg in ('system', 'objective'):
        return ast.walk(node.value)
    if isinstance(node, ast.Subscript) and 'SYSTEMS' in ast.unparse(node.value):
        return ast.walk(node.slice)
    if isinstance(node, ast.Call) and ast.unparse(node.func).split('.')[-1] in ('find_system', 'register'):
        return ast.walk(node)
    if isinstance(node, ast.Compare) and re.search(r'system|objective|cls', ast.unparse(node)):
        return ast.walk(node)
    return ()

@pytest.mark.parametrize('path', [p for p in MODULES if p.parent.name != 'systems'], ids=lambda p: str(p.relative_to(ROOT/'mgca')))
def test_only_systems_name_a_system(path):
    "Outside systems/ no class of a system is named, and nothing chooses or compares one by its name"
    from mgca.systems.registry import SYSTEMS
    classes = {e.cls.__name__ for e in SYSTEMS.values()}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Name, ast.Attribute)):
            word = node.id if isinstance(node, ast.Name) else node.attr
            assert word not in classes, f'{path}:{node.lineno} names {word}'
        for n in chosen(node):
            value = getattr(n, 'value', None)
            assert not isinstance(value, str) or value not in SYSTEMS, f'{path}:{n.lineno} names the system {value!r}'

@pytest.mark.parametrize('path', MODULES, ids=IDS)
def test_sizes(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 250, f'{len(lines)} lines'
    assert max(map(len, lines)) <= 140
    assert not re.search(r'METHOD\.md', path.read_text()), 'cites a file that is not in the repository'
