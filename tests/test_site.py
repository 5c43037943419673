"The site: built from the notebooks without a warning, every link inside it leads somewhere, its search knows the words."
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
NEEDS = ('sphinx', 'myst_nb', 'furo', 'latex2mathml')
needs_sphinx = pytest.mark.skipif(not importlib.util.find_spec('sphinx'), reason="pip install -e '.[site]'")
CHAPTERS = sorted(p.relative_to(ROOT/'nbs').with_suffix('') for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)

class Found(HTMLParser):
    "Addresses and anchors of a page"
    def __init__(self, path):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids.update(v for k, v in attrs.items() if k in ('id', 'name') and v)
        self.links += [attrs[k] for k in ('href', 'src') if attrs.get(k)]

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp('site')/'html'
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'HF_HUB_OFFLINE': '1'}
    p = subprocess.run([sys.executable, ROOT/'.ci/site.py', '--out', out], text=True, capture_output=True, env=env, timeout=600)
    assert p.returncode == 0 and not re.search('warning', p.stderr, re.I), p.stderr[-3000:]
    return out

def broken(folder): # folder of pages -> list of (page, address)
    pages = {p: Found(p) for p in folder.rglob('*.html')}
    out = []
    for page, found in pages.items():
        for link in found.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            goal = (page.parent/unquote(url.path)).resolve() if url.path else page
            anchored = url.fragment and goal in pages
            if not goal.is_file() or anchored and unquote(url.fragment) not in pages[goal].ids:
                out.append((page.relative_to(folder).as_posix(), link))
    return out

@needs_sphinx
def test_requirements_are_there():
    assert all(importlib.util.find_spec(n) for n in NEEDS), 'sphinx alone is not enough: pip install -e ".[site]"'

@needs_sphinx
def test_every_notebook_is_a_page(site):
    for name in CHAPTERS:
        text = (site/f'{name}.html').read_text(encoding='utf-8')
        assert '#|' not in re.sub('<[^>]+>', '', text), f'{name}: a directive is shown'
    assert {'results.html', 'gallery.html', 'search.html'} <= {p.name for p in site.glob('*.html')}

@needs_sphinx
def test_no_link_is_broken(site):
    assert not broken(site)

@needs_sphinx
def test_nothing_is_asked_of_another_host(site):
    "Scripts, styles and pictures are the site's own"
    for page in site.rglob('*.html'):
        loaded = re.findall(r'<(?:script|img|link rel="stylesheet")[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text(encoding='utf-8'))
        assert not loaded, (page.name, loaded)

@needs_sphinx
def test_search_knows_meta_points(site):
    index = json.loads(re.search(r'Search\.setIndex\((.*)\)', (site/'searchindex.js').read_text(encoding='utf-8'), re.S)[1])
    page = index['docnames'].index('method/01_correspondence')
    for word in ('meta', 'point'):  # how the search cuts the word
        places = [index[part].get(word, []) for part in ('terms', 'titleterms')]
        assert any(page in (p if isinstance(p, list) else [p]) for p in places), word
    assert any(page == i for title, places in index['alltitles'].items() if 'meta-point' in title.lower() for i, _ in places)

@needs_sphinx
@pytest.mark.skipif(not shutil.which('chromium'), reason='needs chromium')
def test_search_in_a_browser(site):
    "Typed into the built site, from a file and without a server"
    flags = ['--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=8000', '--dump-dom']
    address = (site/'search.html').as_uri() + '?q=meta-point'
    p = subprocess.run(['chromium', *flags, address], text=True, capture_output=True, timeout=120)
    found = p.stdout.partition('id="search-results"')[2].partition('<footer')[0]
    assert re.search(r'href="[^"]*method/01_correspondence\.html', found), found[:2000]

@needs_sphinx
def test_results_are_the_stored_ones(site):
    from mgca.core.base import mean_and_range
    text = re.sub(r'<[^>]+>', ' ', (site/'results.html').read_text(encoding='utf-8'))
    report = json.loads((ROOT/'nbs/results/quickstart.json').read_text())
    photos = json.loads((ROOT/'nbs/results/photos.json').read_text())
    wanted = [d[s] for m in report['miou'].values() for d in m.values() for s in d]
    wanted += [[r[t]['adaptive']['miou'] for r in runs.values()] for runs in photos.values() for t in ('msrc21', 'camvid', 'coco')]
    for world in ('scenes', 'photos'):
        rows = json.loads((ROOT/f'nbs/results/compare_{world}.json').read_text())['rows'].values()
        wanted += [[r['sets'][s]['adaptive']['miou'] for r in runs.values()] for runs in rows for s in next(iter(runs.values()))['sets']]
    for values in wanted:
        assert mean_and_range([100*v for v in values]) in text

@needs_sphinx
def test_functions_have_their_comments(site):
    text = (site/'api/method.html').read_text(encoding='utf-8')
    part = text[text.index('id="mgca.method.correspondence.own_share"'):][:6000]
    plain = ' '.join(re.sub(r'<[^>]+>', ' ', part).split())
    assert all(said in plain for said in ('cosines', 'temperature of the competition', 'returns'))
    assert '/mgca/method/correspondence.py#L' in part

def test_the_link_check_can_fail(tmp_path):
    (tmp_path/'a.html').write_text('<a id="x" href="b.html">b</a><a href="#y">y</a><a href="a.html#x">x</a><a href="https://e.org">e</a>')
    assert broken(tmp_path) == [('a.html', 'b.html'), ('a.html', '#y')]

def test_sidebar_of_nbdev_docs():
    "Quarto's files are there for nbdev_docs, and the sidebar names every floor"
    yaml = pytest.importorskip('yaml')
    quarto, sidebar = (yaml.safe_load((ROOT/f'nbs/{n}.yml').read_text()) for n in ('_quarto', 'sidebar'))
    assert quarto['project']['type'] == 'website' and 'sidebar.yml' in quarto['metadata-files']
    parts = sidebar['website']['sidebar']['contents']
    listed = [c for part in parts for c in (part['contents'] if isinstance(part, dict) else [part])]
    for name in CHAPTERS:
        assert any((ROOT/'nbs'/name).with_suffix('.ipynb') in (ROOT/'nbs').glob(c) for c in listed), name
    assert all(list((ROOT/'nbs').glob(c)) for c in listed)
