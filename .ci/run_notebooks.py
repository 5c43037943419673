"Execute notebooks in place from a fresh kernel, cells flagged slow, cuda or net left as they are, then clean them."
import re, subprocess, sys, time
from pathlib import Path
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
SKIP = re.compile(r'^#\| *(slow|cuda|net|eval: *false)\b', re.M)

def run(path, # notebook
       ):     # seconds
    nb, t0 = nbformat.read(path, 4), time.time()
    client = NotebookClient(nb, timeout=1800, kernel_name='python3', resources={'metadata': {'path': str(path.parent)}})
    with client.setup_kernel():
        for i, cell in enumerate(nb.cells):
            if cell.cell_type == 'code' and not SKIP.search(cell.source): client.execute_cell(cell, i)
    nbformat.write(nb, path)
    subprocess.run(['nbdev_clean', '--fname', str(path)], check=True)
    return time.time() - t0

if __name__ == '__main__':
    names = sys.argv[1:] or sorted(p.stem for p in (ROOT/'nbs').glob('*.ipynb'))
    for name in names: print(f"{name}: {run(ROOT/'nbs'/f'{name}.ipynb'):.0f} s", flush=True)
