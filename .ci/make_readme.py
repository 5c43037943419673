"README.md from nbs/index.ipynb: the text, the code blocks and the pictures; --check compares, --command NAME prints a command of it."
import argparse
import base64
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KINDS = {'image/jpeg': '.jpg', 'image/png': '.png'} # of a picture -> ending of its file in nbs/images
PICTURES = dict(architecture='parts of training and prediction', photographs='photographs, and masks with their names',
                overview='scenes, captions and masks') # name of a file -> what it shows

def file_name(src, # source of the cell that draws
             ):    # key of `PICTURES`: the function that is called, or else the overview
    return next((name for name in PICTURES if f'{name}(' in src), 'overview')

def readme(): # markdown text, dict of file name -> bytes of the picture
    nb, parts, pictures = json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8')), [], {}
    for cell in nb['cells']:
        src = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            parts.append(src)
        elif not re.search(r'^#\| *hide', src, re.M):
            parts.append(f"```python\n{re.sub(r'^#[|].*$', '', src, flags=re.M).strip()}\n```")
        for data in (out.get('data', {}) for out in cell.get('outputs', [])):
            for kind in [k for k in KINDS if k in data]:
                name = file_name(src)
                pictures[name + KINDS[kind]] = base64.b64decode(''.join(data[kind]))
                parts.append(f'![{PICTURES[name]}](nbs/images/{name}{KINDS[kind]})')
    return '\n\n'.join(p.strip() for p in parts) + '\n', pictures

def command(text, # README
            name, # 'run' or 'test'
           ):     # shell line
    found = re.search(rf'<!-- {name} -->\s*```(?:sh|bash)\n(.+?)\n```', text, re.S)
    if not found:
        sys.exit(f'README.md has no command marked {name}')
    return found[1].strip()

def drawn(): # list of paths; other pictures there are kept by hand
    return [p for p in (ROOT/'nbs/images').glob('*') if p.stem in PICTURES]

def check(text, pictures): # leaves with a message when something is out of date
    if (ROOT/'README.md').read_text(encoding='utf-8') != text:
        sys.exit('README.md is not what nbs/index.ipynb says; run python .ci/make_readme.py')
    there = {p.name: p.read_bytes() for p in drawn()}
    if there != pictures:
        sys.exit('nbs/images does not hold the pictures of nbs/index.ipynb; run python .ci/make_readme.py')

def write(text, pictures): # README.md and the pictures, in the place of older ones
    (ROOT/'README.md').write_text(text, encoding='utf-8')
    (ROOT/'nbs/images').mkdir(exist_ok=True)
    for old in drawn():
        old.unlink()
    for name, data in pictures.items():
        (ROOT/'nbs/images'/name).write_bytes(data)

if __name__ == '__main__':
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('--check', action='store_true', help='fail when README.md is out of date')
    ap.add_argument('--command', help='print the command marked with this name')
    args = ap.parse_args()
    if args.command:
        sys.exit(print(command((ROOT/'README.md').read_text(encoding='utf-8'), args.command)))
    (check if args.check else write)(*readme())
