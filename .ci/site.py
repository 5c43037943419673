"""The site: every notebook as a page, the package from its source, results from what is stored. Nothing is executed.

    python .ci/site.py [--out _docs] [--keep DIR]

Needs `pip install -e '.[site]'` and no network. Fails on any warning. --keep leaves the pages as Sphinx reads them in DIR.
"""
import argparse
import copy
import json
import re
import shutil
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

import site_api
import site_results

from mgca.apps.photos import markdown

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
FLOORS = {'core': 'What all others lean on', 'data': 'Captioned photographs and scenes', 'encoders': 'Networks that are given',
          'method': 'Functions of the method', 'systems': 'Methods as systems', 'segment': 'From a photograph to masks',
          'eval': 'Numbers', 'train': 'Runs', 'apps': 'What a person starts'}
FLAGS = {'slow': 'Takes long, or needs data: not run with the others.', 'cuda': 'Needs a GPU: not run with the others.',
         'net': 'Needs a network: not run with the others.', 'eval: false': 'Not run.'}
PAGES = {'CHANGELOG.md': 'changes.md', 'CONTRIBUTING.md': 'contributing.md', 'experiments/README.md': 'experiments.md',
         'NOTICE': 'notice.md', 'mgca/assets/lite/README.md': 'lite.md'} # file of the repository -> page

def settings(): # section of settings.ini
    parser = ConfigParser(delimiters=['='])
    parser.read(ROOT/'settings.ini', encoding='utf-8')
    return parser['DEFAULT']

def source(cell): return ''.join(cell['source'])

def notebooks(): # list of names such as 'method/02_losses', in reading order
    found = {p.relative_to(NBS).with_suffix('').as_posix() for p in NBS.rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts}
    order = {f: i for i, f in enumerate(FLOORS)}
    def place(name): # its floor, its number
        floor = name.rpartition('/')[0]
        return order.get(floor, len(FLOORS) if floor else -1), name
    return sorted(found - {'index'}, key=place)

def main_path(names): # -> those that index.ipynb prints in bold, after the ones that stand at the top
    text = '\n'.join(source(c) for c in json.loads((NBS/'index.ipynb').read_text(encoding='utf-8'))['cells'])
    bold = re.findall(r'\[\*\*[^\]]+\*\*\]\(nbs/([^)]+)\.ipynb\)', text) + re.findall(r'\*\*\[[^\]]+\]\(nbs/([^)]+)\.ipynb\)\*\*', text)
    return list(dict.fromkeys([n for n in names if '/' not in n] + [n for n in bold if n in names]))

class Pages:
    "The temporary folder that Sphinx reads"
    def __init__(self, out):
        self.out, self.names = out, notebooks()
        self.cfg = settings()
        self.url = f"{self.cfg['git_url']}/blob/{self.cfg['branch']}"
        self.modules = {f: site_api.modules(ROOT, f, self.url) for f in FLOORS}
        self.known = site_api.index(self.modules)
        self.cards = {}

    def write(self, name, text): # page, Markdown
        path = self.out/name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')

    def module_of(self, name): # notebook -> its `Module` or None
        return next((m for ms in self.modules.values() for m in ms if m.notebook == f'{name}.ipynb'), None)

def target(link, folder, pages): # address in a notebook, its folder, `Pages` -> address in the site
    path, hash_, anchor = link.partition('#')
    if not path or re.match(r'[a-z]+:', path):
        return link
    up = '../' if folder else ''
    inside = path.removeprefix('nbs/')
    if inside.startswith(('results/', 'images/')) or path in PAGES:
        return up + PAGES.get(path, inside)
    if path.endswith('.ipynb'):
        return (up if path.startswith('nbs/') else '') + inside + hash_ + anchor
    return f'{pages.url}/{path}'

def linked(code, name, pages): # text between backticks, notebook -> Markdown
    depth = '../' if '/' in name else ''
    if code in pages.names and code != name:
        return f'[`{code}`]({depth}{code}.ipynb)'
    plain = code.removesuffix('()').removeprefix('mgca.')
    meant = pages.known.get(plain.rpartition('.')[2], [])
    own = pages.module_of(name)
    mine = [m for m in meant if own and m == f'{own.name}.{plain}']
    if not mine and not re.search(r'[_A-Z.]', plain):
        return f'`{code}`'  # a common word, which here may mean something else
    full = mine or [m for m in meant if f'.{m}'.endswith(f'.{plain}')]
    return f'{{py:obj}}`{code} <{full[0]}>`' if len(full) == 1 else f'`{code}`'

def prose(text, name, pages): # Markdown of a cell -> Markdown of the site
    folder, out = name.rpartition('/')[0], []
    for i, part in enumerate(re.split(r'(^```.*?^```$|^    .*?$)', text, flags=re.S | re.M)):
        if i % 2:
            out.append(part)  # code in a fence
            continue
        part = re.sub(r'\]\(([^)\s]+)\)', lambda m: f']({target(m[1], folder, pages)})', part)
        pieces = re.split(r'(\[[^\]]*\]\([^)]*\)|^#.*$|^ *<.*$)', part, flags=re.M)  # links, headings and HTML stay as they are
        pieces[::2] = [re.sub(r'(?<![`}])`([^`\n]+)`(?!`)', lambda m: linked(m[1], name, pages), p) for p in pieces[::2]]
        out.append(''.join(pieces))
    return ''.join(out)

def flags(src): # source of a code cell -> set of its flags, the source without them
    found = {' '.join(f.replace(':', ': ').split()) for f in re.findall(r'^#\| *(.+?) *$', src, re.M)}
    return found, re.sub(r'^#\|.*\n?', '', src, flags=re.M)

def hidden(found): # set of flags -> is the cell left out?
    return bool(found & {'hide', 'include: false'}) or any(f.startswith('default_exp') for f in found)

def readable(output): # of a cell -> can a page show it?
    return not any('widget' in kind for kind in output.get('data', {}))

def is_picture(cell): # bool
    return any(k.startswith('image/') for o in cell.get('outputs', []) for k in o.get('data', {}))

def code_cell(cell, folded): # a cell, is its code folded away? -> list of cells of the site
    found, src = flags(source(cell))
    if hidden(found) or not src.strip():
        return []
    kept = ' What it says here is from the last time.' if cell['outputs'] else ''
    told = {f: f'<p class="flag"><b>{f}</b> {FLAGS[f]}{kept}</p>' for f in FLAGS if f in found}
    wanted = {'remove-input': found & {'hide_input', 'echo: false'}, 'hide-input': folded or 'code-fold: true' in found,
              'exported': any(f.startswith('export') for f in found)}
    tags = [t for t, yes in wanted.items() if yes]
    outputs = [] if found & {'hide_output', 'output: false'} else [o for o in cell['outputs'] if readable(o)]
    new = dict(copy.deepcopy(cell), source=src.strip('\n'), outputs=outputs, metadata=dict(tags=tags))
    return [dict(cell_type='markdown', id=f'{cell["id"]}-{f.split(":")[0]}', metadata={}, source=t) for f, t in told.items()] + [new]

def where(name, pages): # notebook -> line under its title
    module, up = pages.module_of(name), '../' if '/' in name else ''
    api = ''
    if module:
        short = module.name.removeprefix('mgca.')
        api = f' · module [{module.name}]({up}api/{short.split(".")[0]}.md#{short.replace(".", "")}), made of the cells with a blue edge'
    return f'{{.where}}\n[{name}.ipynb](path:{up}_notebooks/{name}.ipynb){api}'

def notebook(name, pages): # writes its page
    nb = json.loads((NBS/f'{name}.ipynb').read_text(encoding='utf-8'))
    cells, titled = [], name == 'index'
    opening = next((c['id'] for c in nb['cells'][:6] if is_picture(c)), None)  # seen before its code
    for cell in nb['cells']:
        if cell['cell_type'] != 'markdown':
            cells += code_cell(cell, cell['id'] == opening) if cell['cell_type'] == 'code' else []
            continue
        text = prose(re.sub(r'^\[!\[.*\n', '', source(cell), flags=re.M), name, pages)  # badges are others' pictures
        if not titled and re.match('# ', text):
            titled, text = True, re.sub(r'^(# .+)$', lambda m: f'{m[1]}\n\n{where(name, pages)}', text, count=1, flags=re.M)
        cells.append(dict(cell, source=text))
    if name == 'index':
        cells.append(dict(cell_type='markdown', id='contents', metadata={}, source=contents(pages)))
    pages.write(f'{name}.ipynb', json.dumps(dict(nb, cells=cells)))
    copied = pages.out/'_notebooks'/f'{name}.ipynb'
    copied.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(NBS/f'{name}.ipynb', copied)
    pages.cards[name] = site_results.card(nb)

def tree(caption, entries): # -> directive; entries as Sphinx writes them
    return '\n'.join(['```{toctree}', ':hidden:', ':maxdepth: 2', *([f':caption: {caption}'] if caption else []), '', *entries, '```'])

def contents(pages): # the sidebar
    project = [p.removesuffix('.md') for f, p in PAGES.items() if (ROOT/f).is_file()]
    return '\n\n'.join([tree('Main path', main_path(pages.names)), tree('What came out', ['results', 'gallery']),
                        tree('All notebooks, by floor', [f'{f}/index' for f in FLOORS]),
                        tree('Package', [f'api/{f}' for f in FLOORS]), tree('Project', project)])

def floor(name, about, pages): # writes the page that lists its notebooks
    mine = [n for n in pages.names if n.startswith(f'{name}/')]
    rows = [[f'[{n.partition("/")[2]}]({n.partition("/")[2]}.ipynb)', site_api.escaped(pages.cards[n][0]),
             site_api.escaped(pages.cards[n][1])] for n in mine]
    listed = '\n'.join(['```{toctree}', ':hidden:', '', *(n.partition('/')[2] for n in mine), '```'])
    pages.write(f'{name}/index.md', '\n\n'.join([f'# {name}', f'{about}.', markdown(['notebook', 'title', ''], rows), listed]))

def plain_page(file, page, pages): # writes a file of the repository as a page
    text = (ROOT/file).read_text(encoding='utf-8')
    text = re.sub(r'\A---\n.*?\n---\n', '', text, flags=re.S)  # a card's front matter is for the hub
    if not file.endswith('.md'):
        text = f'# {file}\n\n```text\n{text}\n```\n'
    pages.write(page, prose(text, 'index', pages))

def make(out): # folder -> `Pages`, written
    pages = Pages(out)
    for name in ['index', *pages.names]:
        notebook(name, pages)
    for name, about in FLOORS.items():
        floor(name, about, pages)
        pages.write(f'api/{name}.md', site_api.floor_page(name, pages.modules[name]))
    for file, page in PAGES.items():
        if (ROOT/file).is_file():
            plain_page(file, page, pages)
    for folder in ('results', 'images'):
        shutil.copytree(NBS/folder, out/folder)
    (out/'_static').mkdir()
    pages.write('results.md', site_results.results(NBS/'results', out/'_static'))
    pages.write('gallery.md', site_results.gallery(pages.cards, FLOORS, out/'_static'))
    for file in (ROOT/'.ci/pages/conf.py', ROOT/'settings.ini'):
        shutil.copy(file, out)
    shutil.copy(ROOT/'.ci/pages/style.css', out/'_static')
    return pages

def build(src, out): # folder of pages, folder of the site -> exit status
    command = [sys.executable, '-m', 'sphinx', '-b', 'html', '-W', '--keep-going', '-q', '-E', '-d', src/'_built', src, out]
    return subprocess.run(list(map(str, command))).returncode

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--out', default=ROOT/'_docs', type=Path, help='folder of the site')
    p.add_argument('--keep', type=Path, help='folder for the pages as Sphinx reads them')
    a = p.parse_args()
    if a.out.exists() and any(a.out.iterdir()) and not (a.out/'searchindex.js').is_file():
        sys.exit(f'{a.out} holds something else than a site; choose another --out')
    with tempfile.TemporaryDirectory() as temporary:
        folder = a.keep or Path(temporary)/'pages'
        make(folder)
        shutil.rmtree(a.out, ignore_errors=True)
        sys.exit(build(folder, a.out))
