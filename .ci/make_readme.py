"README.md from nbs/index.ipynb: the text, the code blocks and the first picture; --check compares, --command NAME prints a command of it."
import argparse, base64, json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

def readme(): # markdown text, bytes of the picture or None
    nb, parts, picture = json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8')), [], None
    for cell in nb['cells']:
        src = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            parts.append(src)
        elif not re.search(r'^#\| *hide', src, re.M):
            parts.append(f"```python\n{re.sub(r'^#[|].*$', '', src, flags=re.M).strip()}\n```")
        for out in cell.get('outputs', []):
            data = out.get('data', {})
            if 'image/png' in data:
                picture = base64.b64decode(''.join(data['image/png']))
                parts.append('![scenes, captions and masks](nbs/images/overview.png)')
    return '\n\n'.join(p.strip() for p in parts) + '\n', picture

def command(text, # README
            name, # 'run' or 'test'
           ):     # shell line
    found = re.search(rf'<!-- {name} -->\s*```(?:sh|bash)\n(.+?)\n```', text, re.S)
    if not found:
        sys.exit(f'README.md has no command marked {name}')
    return found[1].strip()

if __name__ == '__main__':
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('--check', action='store_true', help='fail when README.md is out of date')
    ap.add_argument('--command', help='print the command marked with this name')
    args = ap.parse_args()
    path, png = ROOT/'README.md', ROOT/'nbs/images/overview.png'
    if args.command:
        sys.exit(print(command(path.read_text(encoding='utf-8'), args.command)))
    text, picture = readme()
    if args.check:
        if path.read_text(encoding='utf-8') != text:
            sys.exit('README.md is not what nbs/index.ipynb says; run python .ci/make_readme.py')
        if picture and png.read_bytes() != picture:
            sys.exit('nbs/images/overview.png is not the picture of nbs/index.ipynb; run python .ci/make_readme.py')
    else:
        path.write_text(text, encoding='utf-8')
        if picture:
            png.parent.mkdir(exist_ok=True)
            png.write_bytes(picture)
