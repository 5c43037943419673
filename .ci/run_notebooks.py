"Execute notebooks in place from a fresh kernel, cells flagged slow, cuda or net left as they are, then clean them."
import base64, io, re, subprocess, sys, time
from pathlib import Path
import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SKIP = re.compile(r'^#\| *(slow|cuda|net|eval: *false)\b', re.M)

def shrink(png, # base64 text of a PNG
          ):    # the same picture in 64 colours, if that is smaller
    buf = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(png))).convert('RGB').quantize(64, Image.Quantize.MAXCOVERAGE).save(buf, 'PNG', optimize=True)
    small = base64.b64encode(buf.getvalue()).decode() + '\n'
    return small if len(small) < .8*len(png) else png

def run(path, # notebook
       ):     # seconds
    nb, t0 = nbformat.read(path, 4), time.time()
    client = NotebookClient(nb, timeout=1800, kernel_name='python3', resources={'metadata': {'path': str(path.parent)}})
    with client.setup_kernel():
        for i, cell in enumerate(nb.cells):
            if cell.cell_type == 'code' and not SKIP.search(cell.source):
                client.execute_cell(cell, i)
    for data in (o.get('data', {}) for c in nb.cells for o in c.get('outputs', [])):
        if 'image/png' in data:
            data['image/png'] = shrink(data['image/png'])
    nbformat.write(nb, path)
    subprocess.run(['nbdev_clean', '--fname', str(path)], check=True)
    return time.time() - t0

if __name__ == '__main__':
    names = sys.argv[1:] or sorted(p.stem for p in (ROOT/'nbs').glob('*.ipynb'))
    for name in names:
        print(f"{name}: {run(ROOT/'nbs'/f'{name}.ipynb'):.0f} s", flush=True)
