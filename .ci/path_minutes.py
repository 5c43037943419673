"""Minutes of the main path, as nbs/index.ipynb lists it: reading (a minute for 150 words or for 12 lines of code that are not folded away,
half a minute for a picture) and, with --run, seconds of processor time of a fresh run on one core.

    OMP_NUM_THREADS=1 python .ci/path_minutes.py [--run]
"""
import json
import re
import resource
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

def rows(): # list of (path of a notebook, minutes that the list gives, seconds that it gives)
    text = '\n'.join(''.join(c['source']) for c in json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8'))['cells'])
    found = re.findall(r'^\| \d+ \| \[[^]]+\]\((nbs/[^)]+)\) \|[^|]*\| (\d+) \| (\d+) \|$', text, re.M)
    return [(ROOT/name, int(minutes), int(seconds)) for name, minutes, seconds in found]

def reading(path, # notebook
           ):     # minutes
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    words = sum(len(''.join(c['source']).split()) for c in cells if c['cell_type'] == 'markdown')
    code = [c for c in cells if c['cell_type'] == 'code']
    shown = [''.join(c['source']) for c in code if not re.search(r'^#\| *(hide|default_exp)', ''.join(c['source']), re.M)]
    lines = sum(bool(line.strip()) for src in shown for line in src.splitlines())
    pictures = sum(any(kind.startswith('image/') for kind in out.get('data', {})) for c in code for out in c['outputs'])
    return words/150 + lines/12 + pictures/2

def spent(): # processor seconds of the processes that have ended
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

def running(path, # notebook
           ):     # processor seconds of a run that changes nothing
    import nbformat
    from nbclient import NotebookClient
    from run_notebooks import skipped
    nb, skip, before = nbformat.read(path, 4), skipped(False), spent()
    client = NotebookClient(nb, timeout=1800, kernel_name='python3', resources={'metadata': {'path': str(path.parent)}})
    with client.setup_kernel():
        for i, cell in enumerate(nb.cells):
            if cell.cell_type == 'code' and not skip.search(cell.source):
                client.execute_cell(cell, i)
    return spent() - before

if __name__ == '__main__':
    for path, minutes, seconds in rows():
        took = f'{running(path):.0f} s (listed {seconds})' if '--run' in sys.argv else ''
        print(f'{path.relative_to(ROOT/"nbs")}: {reading(path):.0f} min (listed {minutes}) {took}', flush=True)
