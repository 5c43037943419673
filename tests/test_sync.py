"Notebooks, package and README say the same."
import importlib.util, json, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT/'nbs').rglob('*.ipynb'))

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
    for path in NOTEBOOKS:
        assert (copy/path.relative_to(ROOT)).read_text() == path.read_text(), f'{path.name}: run nbdev_clean'

def test_readme_in_sync():
    subprocess.run([sys.executable, ROOT/'.ci/make_readme.py', '--check'], check=True)

def test_readme_table_is_the_kept_report():
    from mgca.apps.quickstart import table_rows
    report = json.loads((ROOT/'nbs/results/quickstart.json').read_text())
    text = (ROOT/'README.md').read_text()
    for name, *cells in table_rows(report['miou']):
        assert f"| {name} | {' | '.join(cells)} |" in text
    assert len(report['seeds']) == 3

def test_readme_photographs_are_the_kept_runs():
    from mgca.core.base import mean_and_range
    runs = json.loads((ROOT/'nbs/results/photos.json').read_text())
    sets, lines = ('msrc21', 'camvid', 'coco'), (ROOT/'README.md').read_text().splitlines()
    def cells(begin):
        rows = [line.split('|')[2:5] for line in lines if line.startswith(f'| {begin} |')]
        return [[c.strip() for c in row] for row in rows]
    def values(name, title, reading, part):
        return [100*r[title][reading][part] for r in runs[name].values()]
    levels = {'start: names of an ImageNet classifier': 'start', 'image level only': 'image',
              'object level only (TCL-style)': 'tcl', 'all levels (MGCA)': 'mgca'}
    for begin, name in levels.items():
        assert [mean_and_range(values(name, t, 'adaptive', 'miou')) for t in sets] in cells(begin), begin
    readings = {'pixels': 'pixel', 'pixels + PAMR': 'pixel, PAMR', 'groups': 'group', '**adaptive unit** (the default)': 'adaptive'}
    for begin, reading in readings.items():
        found = [[sum(v)/len(v) for v in (values('mgca', t, reading, 'miou'), values('mgca', t, reading, 'boundary_f'))] for t in sets]
        assert [f'{a:.1f} / {b:.1f}' for a, b in found] in cells(begin), begin
    leads = {(seed, t, r): run[t][r]['above'][0] for seed, run in runs['mgca'].items() for t in sets
             for r in ('pixel', 'pixel, guided', 'pixel, PAMR', 'group')}  # what the text under the table says of every seed
    assert len(leads) == 36 and [k for k, low in leads.items() if low <= 0] == [('0', 'coco', 'pixel, PAMR')]
    assert all(runs['mgca'][seed][t]['adaptive']['miou'] > runs['mgca'][seed][t][r]['miou'] for seed, t, r in leads)

def test_the_path_is_as_long_as_it_says():
    "Minutes of the README's main path, and each of its notebooks ends with a recap and a link to the next"
    spec = importlib.util.spec_from_file_location('path_minutes', ROOT/'.ci/path_minutes.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    rows = tool.rows()
    assert len(rows) == 8
    assert f'{sum(minutes for _, minutes, _ in rows)} minutes in all' in (ROOT/'README.md').read_text()
    for path, minutes, seconds in rows:
        assert abs(tool.reading(path) - minutes) <= 3, f'{path.name}: {tool.reading(path):.0f} minutes'
        assert 0 < seconds <= 60, path.name
    for path, after in zip([r[0] for r in rows], [r[0].name for r in rows[1:]] + ['02_photos.ipynb']):
        last = ''.join(json.loads(path.read_text())['cells'][-1]['source'])
        assert last.startswith('## Recap') and last.count('\n- ') == 3 and after in last, path.name
