"""Execute notebooks in place from a fresh kernel, cells flagged slow, cuda or net left as they are, then clean them.

    python .ci/run_notebooks.py [--slow] [data/02_nouns ...]

Names are those below nbs/, without the ending; all notebooks when none is given. With --slow, cells flagged slow run, too.
"""
import base64
import io
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

NBS = Path(__file__).resolve().parent.parent/'nbs'
def skipped(slow, # run cells flagged slow?
           ):     # pattern of the cells that are left as they are
    return re.compile(rf'^#\| *({"" if slow else "slow|"}cuda|net|eval: *false)\b', re.M)

COLOURS = 256 # of a palette; a drawing has more only where lines are smoothed
MOST = 120_000 # characters of a drawing; a larger one has textures, as a photograph has
AREAS = 64 # colours that fill nine tenths of a drawing

def is_photo(picture, # PIL image in RGB
            ):        # bool
    "Do the commonest colours fill less than nine tenths of the picture?"
    counts = sorted((n for n, _ in picture.getcolors(picture.width*picture.height)), reverse=True)
    return sum(counts[:AREAS]) < .9*sum(counts)

def packed(picture, # PIL image
           kind,    # 'jpeg' or 'png'
          ):        # base64 text
    buf = io.BytesIO()
    if kind == 'jpeg':
        picture.save(buf, 'JPEG', quality=76, optimize=True, progressive=True)
    else:
        colours, at, many = np.unique(np.asarray(picture).reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
        kept = colours[many.argsort()[:-COLOURS - 1:-1]].astype(int)  # areas keep their colour, however pale
        nearest = np.stack([((colours - k)**2).sum(1) for k in kept]).argmin(0).astype(np.uint8)
        few = Image.fromarray(nearest[at.ravel()].reshape(picture.height, picture.width))
        few.putpalette(kept.astype(np.uint8).tobytes())
        few.save(buf, 'PNG', optimize=True)
    return base64.b64encode(buf.getvalue()).decode() + '\n'

def shrink(data, # outputs of a cell by kind; changed in place
          ):     # None
    "Photographs as JPEG in full colour, drawings in few colours, where that is smaller"
    if 'image/png' not in data:
        return
    picture = Image.open(io.BytesIO(base64.b64decode(data['image/png']))).convert('RGB')
    kind = 'jpeg' if is_photo(picture) else 'png'
    small = packed(picture, kind)
    if kind == 'png' and len(small) > MOST:
        kind, small = 'jpeg', packed(picture, 'jpeg')
    if len(small) < .8*len(data['image/png']):
        del data['image/png']
        data[f'image/{kind}'] = small

def run(path, # notebook
        skip, # pattern of cells to leave
       ):     # seconds
    nb, t0 = nbformat.read(path, 4), time.time()
    client = NotebookClient(nb, timeout=1800, kernel_name='python3', resources={'metadata': {'path': str(path.parent)}})
    with client.setup_kernel():
        for i, cell in enumerate(nb.cells):
            if cell.cell_type == 'code' and not skip.search(cell.source):
                client.execute_cell(cell, i)
    for data in (o.get('data', {}) for c in nb.cells for o in c.get('outputs', [])):
        shrink(data)
    nbformat.write(nb, path)
    subprocess.run(['nbdev_clean', '--fname', str(path)], check=True)
    return time.time() - t0

def named(name, # as 'data/02_nouns' or 'nbs/data/02_nouns.ipynb'
         ):     # path of the notebook
    path = NBS/f'{name.removeprefix("nbs/").removesuffix(".ipynb")}.ipynb'
    if not path.is_file():
        sys.exit(f'no notebook {name!r} in nbs/; give floor/NN_name, such as data/02_nouns')
    return path

def all_of_them(): # list of paths
    return sorted(p for p in NBS.rglob('*.ipynb') if not any(part.startswith('.') for part in p.relative_to(NBS).parts))

if __name__ == '__main__':
    slow, names = '--slow' in sys.argv, [a for a in sys.argv[1:] if a != '--slow']
    for path in [named(n) for n in names] or all_of_them():
        name = path.relative_to(NBS).with_suffix('')
        print(f'{name}: {run(path, skipped(slow)):.0f} s', flush=True)
