"Notebooks, package and README say the same."
import json, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))

def test_export_in_sync(tmp_path):
    copy = tmp_path/'mgca'
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns('.git', '.venv*', 'build', 'runs', 'mgca_quickstart'))
    subprocess.run([Path(sys.executable).parent/'nbdev_export'], cwd=copy, check=True, capture_output=True)
    for path in sorted((copy/'mgca').rglob('*.py')):
        assert path.read_text() == (ROOT/'mgca'/path.relative_to(copy/'mgca')).read_text(), f'{path.name} is not what the notebooks export'

def test_notebooks_are_clean(tmp_path):
    copy = tmp_path/'clean'
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns('.git', '.venv*', 'build', 'runs', 'mgca_quickstart'))
    subprocess.run([Path(sys.executable).parent/'nbdev_clean'], cwd=copy, check=True, capture_output=True)
    for path in NOTEBOOKS: assert (copy/'nbs'/path.name).read_text() == path.read_text(), f'{path.name}: run nbdev_clean'

def test_readme_in_sync():
    subprocess.run([sys.executable, ROOT/'.ci/make_readme.py', '--check'], check=True)

def test_lower_notebooks_never_import_higher():
    order = [p.stem for p in NOTEBOOKS]
    module = {}
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text())['cells']:
            for line in cell['source']:
                if line.startswith('#| default_exp'): module[line.split()[-1]] = path.stem
    for path in NOTEBOOKS:
        exported = [''.join(c['source']) for c in json.loads(path.read_text())['cells'] if c['cell_type'] == 'code' and '#| export' in ''.join(c['source'])]
        for line in '\n'.join(exported).splitlines():
            if not line.strip().startswith('from mgca.'): continue
            used = module[line.split()[1].removeprefix('mgca.')]
            assert order.index(used) < order.index(path.stem), f'{path.stem} imports {used}'

def test_readme_table_is_the_kept_report():
    from mgca.quickstart import table_rows
    report = json.loads((ROOT/'nbs/results/quickstart.json').read_text())
    text = (ROOT/'README.md').read_text()
    for name, *cells in table_rows(report['miou']): assert f"| {name} | {' | '.join(cells)} |" in text
    assert len(report['seeds']) == 3
