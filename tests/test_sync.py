"Notebooks, package and README say the same."
import json, shutil, subprocess, sys
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
    runs, counted = (json.loads((ROOT/f'nbs/results/{n}.json').read_text()) for n in ('photos', 'named'))
    begin = '| start: names', '| image level only | 5', '| object level only (TCL-style) | 5', '| all levels (MGCA) | 5'
    rows = [line for line in (ROOT/'README.md').read_text().splitlines() if line.startswith(begin)]
    assert len(rows) == 4
    common = {c: n >= counted['photographs']/100 for c, n in counted['named'].items()}
    def mean(xs):
        return sum(xs)/len(xs)
    for row, kept in zip(rows, (runs[n] for n in ('start', 'image', 'tcl', 'mgca'))):
        seeds = [r['adaptive'] for r in kept.values()]
        parts = []
        for which in (True, False):
            parts.append(100*mean([mean([v for c, v in s['iou'].items() if common[c] == which]) for s in seeds]))
        whole = [100*s['miou'] for s in seeds]
        spread = f' ({min(whole):.1f} to {max(whole):.1f})' if max(whole) - min(whole) > .05 else ''
        assert row.split('|', 2)[2] == f' {mean(whole):.1f}{spread} | {parts[0]:.1f} | {parts[1]:.1f} |', row
