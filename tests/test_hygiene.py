"Every notebook opens the same way, is small, executed and clean."
import json, re
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))
MACHINE = re.compile(r'(?<![\w.])/(?:root|home/\w+|work|tmp|opt)/[\w./-]+')

def cells(path, kind='code'):
    return [c for c in json.loads(path.read_text())['cells'] if c['cell_type'] == kind]
def source(cell): return ''.join(cell['source'])

@pytest.mark.parametrize('path', [p for p in NOTEBOOKS if p.stem != 'index'], ids=lambda p: p.stem)
def test_opening(path):
    nb = json.loads(path.read_text())['cells']
    assert source(nb[0]).startswith('#| default_exp'), 'first cell names the module'
    title = source(nb[1])
    assert re.match(r'# .+\n\n> .+', title), 'a title and one sentence'
    assert 10 < len(source(nb[2]).split()) <= 80, 'an opening of at most 80 words'
    assert any('image/png' in o.get('data', {}) for c in nb[3:6] for o in c.get('outputs', [])), 'a picture of the result near the top'

@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_sizes_and_outputs(path):
    assert path.stat().st_size <= 500_000
    executed = 0
    for cell in cells(path):
        src = source(cell)
        if '#| export' in src:
            assert src.count('\n') < 40, f'an exported cell is too long:\n{src[:80]}'
        for out in cell['outputs']:
            executed += 1
            assert out['output_type'] != 'error', f'an error is kept under\n{src[:80]}'
            data = out.get('data', {})
            text = json.dumps([out.get('text'), data.get('text/plain')])
            assert not MACHINE.search(text), f'a path of somebody\'s machine is kept under\n{src[:80]}'
            if 'image/png' in data:
                assert len(''.join(data['image/png'])) <= 90_000
    assert executed, 'not executed'

@pytest.mark.parametrize('path', [p for p in NOTEBOOKS if p.stem != 'index'], ids=lambda p: p.stem)
def test_functions_are_tested(path):
    src = [source(c) for c in cells(path)]
    exported = [s for s in src if re.search(r'^#\| *export', s, re.M) and 'def ' in s]
    tests = [s for s in src if not re.search(r'^#\| *export', s, re.M) and re.search(r'\btest_\w+\(|\bassert\b', s)]
    assert len(tests) >= .7*len(exported), f'{len(exported)} exported cells with functions, {len(tests)} with visible tests'

@pytest.mark.parametrize('path', sorted((ROOT/'mgca').glob('[!_]*.py')), ids=lambda p: p.stem)
def test_documented(path):
    "Every public function has a docstring and a comment on each parameter and on what it returns"
    import ast
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef) or node.name.startswith('_') or node.col_offset > 0:
            continue
        assert ast.get_docstring(node), f'{node.name} has no docstring'
        head = lines[node.lineno - 1:node.body[0].lineno]
        for arg in [a for a in node.args.args + node.args.kwonlyargs if a.arg not in ('self', 'cls')]:
            line = lines[arg.lineno - 1]
            assert '#' in line or len(node.args.args) == 0 or 'Param(' in line, f'{path.stem}.{node.name}: {arg.arg} is not documented'
        assert head
