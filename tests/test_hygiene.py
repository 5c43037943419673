"Every notebook opens the same way, is small, executed and clean; every public name is documented."
import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT/'nbs').rglob('*.ipynb'))
CHAPTERS = [p for p in NOTEBOOKS if p.stem != 'index']
TOP = [p for p in CHAPTERS if p.parent.name == 'nbs']  # for reading only; no module is made from these
MODULES = sorted(p for p in (ROOT/'mgca').rglob('*.py') if not p.name.startswith('_'))
MACHINE = re.compile(r'(?<![\w.])/(?:root|home/\w+|work|tmp|opt)/[\w./-]+')

def name(path): return f'{path.parent.name}/{path.stem}'
def cells(path, kind='code'): return [c for c in json.loads(path.read_text())['cells'] if c['cell_type'] == kind]
def source(cell): return ''.join(cell['source'])
def exported(cell): return bool(re.search(r'^#\| *export', source(cell), re.M))

def opening(path): # cells, the one that names the module first
    nb = json.loads(path.read_text())['cells']
    return [dict(cell_type='code', source=''), *nb] if path in TOP else nb

@pytest.mark.parametrize('path', CHAPTERS, ids=name)
def test_opening(path):
    nb = opening(path)
    if path not in TOP:
        assert source(nb[0]).startswith('#| default_exp'), 'first cell names the module'
    assert re.match(r'# .+\n\n> .+', source(nb[1])), 'a title and one sentence'
    assert 10 < len(source(nb[2]).split()) <= 80, 'an opening of at most 80 words'
    pictures = [d for c in nb[3:6] for o in c.get('outputs', []) for d in o.get('data', {}) if d in ('image/png', 'image/jpeg')]
    assert pictures, 'a picture of the result near the top'

def test_openings_differ():
    for part in (1, 2):
        said = [source(opening(p)[part]) for p in CHAPTERS]
        assert len(set(said)) == len(said)

@pytest.mark.parametrize('path', NOTEBOOKS, ids=name)
def test_sizes_and_outputs(path):
    assert path.stat().st_size <= 500_000
    executed = 0
    for cell in cells(path):
        src = source(cell)
        if exported(cell):
            assert src.count('\n') < 40, f'an exported cell is too long:\n{src[:80]}'
        for out in cell['outputs']:
            executed += 1
            assert out['output_type'] != 'error', f'an error is kept under\n{src[:80]}'
            data = out.get('data', {})
            text = json.dumps([out.get('text'), data.get('text/plain')])
            assert not MACHINE.search(text), f'a path of somebody\'s machine is kept under\n{src[:80]}'
            assert len(''.join(data.get('image/png', ''))) <= 90_000
    assert executed, 'not executed'

@pytest.mark.parametrize('path', TOP, ids=name)
def test_the_top_exports_nothing(path):
    assert not [source(c) for c in cells(path) if re.search(r'^#\| *(export|default_exp)', source(c), re.M)]

@pytest.mark.parametrize('path', CHAPTERS, ids=name)
def test_functions_are_tested(path):
    code = cells(path)
    functions = [c for c in code if exported(c) and 'def ' in source(c)]
    tests = [c for c in code if not exported(c) and re.search(r'\btest_\w+\(|\bassert\b', source(c))]
    assert len(tests) >= .7*len(functions), f'{len(functions)} exported cells with functions, {len(tests)} with visible tests'
    everything = '\n'.join(source(c) for p in NOTEBOOKS for c in cells(p))
    for cell in functions:
        for f in ast.parse(source(cell)).body:
            if isinstance(f, ast.FunctionDef) and not f.name.startswith('_') and not f.decorator_list:
                assert len(re.findall(rf'\b{f.name}\b', everything)) > 1, f'{f.name} is never used'

def undocumented(path): # yields 'name: what is missing'
    text = path.read_text()
    lines, tree = text.splitlines(), ast.parse(text)
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    methods = [f for c in tree.body if isinstance(c, ast.ClassDef) for f in c.body if isinstance(f, ast.FunctionDef)]
    for f in functions + methods:
        if f.name.startswith('_') and f.name not in ('__init__', '__call__'):
            continue
        first, last = f.lineno - 1, f.body[0].lineno - 1
        while last > first and not re.search(r'\)\s*(->.*)?:', lines[last].split('#')[0]):
            last -= 1  # the line that ends the signature
        doc, remark = ast.get_docstring(f), '#' in lines[last]
        arguments = [a for a in [*f.args.args, *f.args.kwonlyargs] if a.arg not in ('self', 'cls')]
        if f in functions and not doc:
            yield f'{f.name}: no docstring'
        if f in methods and not (doc or remark or f.name in ('__init__', '__call__', 'forward')):
            yield f'{f.name}: neither docstring nor remark'
        plain = f.name.startswith(('__init__', 'main', 'mgca_')) or f in methods and f.name in ('forward', '__call__') and first == last
        if not remark and not plain:
            yield f'{f.name}: nothing on what it returns'
        for a in arguments:
            where = lines[a.lineno - 1]
            told = '#' in where or 'Param(' in where or 'Flag(' in where
            shared = first != last and any(b is not a and b.lineno == a.lineno for b in arguments)
            if not told or shared:
                yield f'{f.name}: {a.arg} is not documented'

@pytest.mark.parametrize('path', MODULES, ids=name)
def test_documented(path):
    "Functions, methods and what they return"
    missing = list(undocumented(path))
    assert not missing, '\n'.join(missing)

def test_the_check_can_fail(tmp_path):
    bad = tmp_path/'bad.py'
    bad.write_text('def f(x, # what\n      y):\n    "Doc"\n    return x\n\ndef g(x): # result\n    return x\n\n'
                   'class A:\n    def h(self): return 1\n')
    assert {m.split(':')[0] for m in undocumented(bad)} == {'f', 'g', 'h'}
    assert 'f: y is not documented' in list(undocumented(bad)) and 'f: nothing on what it returns' in list(undocumented(bad))

def test_no_foreign_names():
    "Nothing that is committed speaks of somebody's machine, or cites a file that is not there"
    for path in [*MODULES, *(ROOT/'tests').glob('*.py'), *NOTEBOOKS]:
        text = path.read_text() if path.suffix == '.py' else '\n'.join(source(c) for k in ('code', 'markdown') for c in cells(path, k))
        if path.name not in ('test_hygiene.py', 'test_floors.py'):
            assert 'METHOD.md' not in text, f'{path.name} cites METHOD.md'
            assert not re.search(r'(?<![\w.])/(?:root|home/\w+|work)/', text), f'{path.name} holds a path of a machine'

@pytest.mark.parametrize('path', NOTEBOOKS, ids=name)
def test_warnings_are_heard(path):
    "nbdev_test runs many notebooks in one process: one that silences every warning silences the next ones, too"
    deaf = re.compile(r'^warnings\.(simplefilter|filterwarnings\(\W\w+\W\))', re.M)
    for cell in cells(path):
        assert not deaf.search(source(cell)), f'{cell["id"]}: name the warning, or use catch_warnings'
