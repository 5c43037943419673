"The demo: without a browser, and in headless Chromium through Voila and through JupyterLab."
import importlib.util
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

for needed in ('ipywidgets', 'anywidget'):
    pytest.importorskip(needed)

from mgca.apps.answers import Answers, Question, file_of, scene_example
from mgca.apps.demo import Demo
from mgca.apps.view import hand_out, traits
from mgca.systems.saved import load_model

BIN = Path(sys.executable).parent
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--no-first-run']
ENV = dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', MPLBACKEND='agg')

def has(*modules): return all(importlib.util.find_spec(m) for m in modules)

# ---- without a browser

@pytest.fixture(scope='module')
def tiny():
    return load_model('tiny')

@pytest.fixture
def demo(tiny):
    return Demo(tiny, scene_example(3).image(), 'cat; elephant; snow')

def photo_bytes(kind='PNG', size=(60, 80)):
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)).save(data, kind)
    return data.getvalue()

def upload(demo, name, data):
    demo.upload.value = (dict(name=name, type='', size=len(data), content=memoryview(data), last_modified=time_of_upload()),)

def time_of_upload():
    from datetime import datetime
    return datetime(2026, 1, 1)

def alert(demo): return demo.status.value if 'role="alert"' in demo.status.value else ''

def test_sliders_do_not_encode(tiny, demo, monkeypatch):
    "Counted at the encoder itself, not by the demo's own counter"
    looks, frozen = [], type(tiny).frozen
    monkeypatch.setattr(type(tiny), 'frozen', lambda self, imgs: looks.append(1) or frozen(self, imgs))
    demo.background.value = 'threshold'
    version = demo.view.version
    for t in (.2, .5, .8):
        demo.threshold.value = t
    assert demo.view.version == version + 3
    demo.view.opacity = .1
    assert demo.view.version == version + 3  # opacity is the browser's business
    demo.words.value, demo.meta_points.value, demo.unit.value = 'cat; snow', 4, 'pixel'
    assert not looks
    demo.size.value = 160
    assert len(looks) == 1

def test_threshold_only_takes_away(demo):
    demo.background.value, areas = 'threshold', []
    for t in (0, .3, .4, .45, .5, .6, 1):
        demo.threshold.value = t
        areas.append(int(demo.found.counts().sum()))
    assert areas == sorted(areas, reverse=True) and areas[0] > areas[-1] == 0

@pytest.mark.parametrize('unit', ['pixel', 'group', 'adaptive'])
def test_answers_are_those_of_the_segmenter(tiny, unit):
    from mgca import Segmenter
    img = scene_example(0).image()
    found = Answers(dict(mine=tiny))(img, Question('mine', 'palm tree; night sky', unit, background='threshold', threshold=.45))
    plain = Segmenter(tiny, ['palm tree', 'night sky'], unit, background=.45)(img)
    assert (found.labels == plain.labels).all() and (found.units == plain.units).all()

def test_downloads_open(demo):
    name, kind, data = demo.file('mask')
    assert name.endswith('.label.png') and kind == 'image/png'
    assert (np.asarray(Image.open(io.BytesIO(data))) == demo.found.labels).all()
    assert Image.open(io.BytesIO(demo.file('overlay')[2])).size == demo.found.labels.shape[::-1]
    coco = json.loads(demo.file('coco')[2])
    assert [c['name'] for c in coco['categories']] == ['cat', 'elephant', 'snow']
    assert sum(a['area'] for a in coco['annotations']) == demo.found.labels.size

def test_a_button_hands_out_what_it_says(demo, monkeypatch):
    sent = []
    monkeypatch.setattr(demo.view, 'send', lambda content, buffers: sent.append((content, buffers)))
    for asked in ({'save': 'overlay'}, {'save': '../secret'}, {}):
        hand_out(demo.view, demo.file, asked)
    (content, (data,)), = sent
    assert content['name'].endswith('.overlay.png') and data == demo.file('overlay')[2]

@pytest.mark.parametrize('data,says', [
    (b'', 'not an image'), (b'\x89PNG\r\n\x1a\n' + b'0'*50, 'photo.png'), (photo_bytes()[:200], 'photo.png'),
    (photo_bytes('JPEG')[:-300], 'damaged or cut short'), (b'%PDF-1.4', 'not an image')])
def test_wrong_uploads(demo, data, says):
    before = demo.found, demo.view.version
    upload(demo, 'photo.png', data)
    assert says in alert(demo) and 'Traceback' not in alert(demo) and '\n' not in alert(demo)
    assert (demo.found, demo.view.version) == before
    upload(demo, 'good.png', photo_bytes())
    assert not alert(demo) and demo.found.labels.shape == (60, 80)

def test_markup_in_words_and_names_stays_text(demo):
    demo.words.value = '<img src=x onerror=alert(1)>; cat'
    assert demo.found.class_names[0].startswith('<img')  # the browser gets values and writes text nodes
    upload(demo, '<b>bold.png', b'no image')
    assert '<b>' not in demo.status.value and '&lt;b&gt;' in demo.status.value

def test_photograph_of_another_shape(demo):
    for size in ((1, 1), (3, 700), (500, 9)):
        upload(demo, 'thin.png', photo_bytes(size=size))
        assert not alert(demo) and demo.found.labels.shape == size
        told = traits(demo.found)
        assert told['size'] == [min(size[0], 640), min(size[1], 640)]

def test_many_words(demo):
    demo.words.value = '; '.join(f'word {i}' for i in range(300))  # more than eight bits hold
    assert not alert(demo) and len(demo.view.words) == 300
    assert Image.open(io.BytesIO(file_of(demo.found, 'mask')[2])).size == demo.found.labels.shape[::-1]

# ---- in a browser

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def wait_for(port, process):
    for _ in range(600):
        assert process.poll() is None, f'the server has ended with {process.returncode}'
        with socket.socket() as s:
            if s.connect_ex(('127.0.0.1', port)) == 0:
                return
        time.sleep(.2)
    raise TimeoutError(f'nobody listens at port {port}')

def ended(process):
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

@pytest.fixture(scope='module')
def browser():
    if not CHROMIUM or not has('playwright'):
        pytest.skip('needs chromium and playwright: apt-get install chromium; pip install playwright')
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        opened = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()

def hear_ctrl_c():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would pass on deafness to it

@pytest.fixture(scope='module')
def voila():
    if not has('voila'):
        pytest.skip("needs voila: pip install '.[demo]'")
    port = free_port()
    p = subprocess.Popen([BIN/'mgca_demo', '--no-browser', '--port', str(port), '--model', 'tiny', '--device', 'cpu'], env=ENV, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=hear_ctrl_c)
    wait_for(port, p)
    yield f'http://127.0.0.1:{port}/'
    ended(p)
    assert p.returncode == 0 and f'http://127.0.0.1:{port}/' in p.stdout.read()

def answered(page, version): # waits until the picture shows that answer or a later one
    page.wait_for_function('v => +(document.querySelector(".mgca-picture")?.dataset.version || 0) >= v', arg=version, timeout=60_000)
    return int(page.locator('.mgca-picture').get_attribute('data-version'))

def at(page, x, y): # a place of the picture, in the page's pixels
    page.locator('.mgca-stage').scroll_into_view_if_needed()
    b = page.locator('.mgca-stage').bounding_box()
    return b['x'] + x*b['width'], b['y'] + y*b['height']

def say(page, label, text):
    field = page.get_by_label(label, exact=True)
    field.fill(text)
    field.press('Enter')

def colours(page): # how many different colours the layer over the photograph has, and its opacity
    return page.evaluate('''() => {
      const c = document.querySelector('.mgca-colours'), image = c.getContext('2d').getImageData(0, 0, c.width, c.height);
      return [new Set(new Uint32Array(image.data.buffer)).size, +c.style.opacity]; }''')

def play(page, tmp_path):
    "What a person does, and what must then be seen"
    page.set_default_timeout(60_000)
    first = answered(page, 1)
    say(page, 'words', 'palm tree; fire extinguisher')
    second = answered(page, first + 1)
    for part in ('legend', 'names'):
        assert set(page.locator(f'.mgca-{part} .mgca-chip').all_inner_texts()) == {'palm tree', 'fire extinguisher'}
    painted, opacity = colours(page)
    assert painted >= 2 and opacity == .55
    page.locator('.mgca-opacity input').fill('0.2')
    assert colours(page) == [painted, .2] and answered(page, second) == second  # nothing was asked
    under = page.locator('.mgca-under')
    said = {}
    for place in ((.6, .2), (.3, .7)):
        page.mouse.move(*at(page, *place))
        page.wait_for_function('() => document.querySelector(".mgca-under").innerText.includes("unit")')
        said[place] = under.inner_text()
    assert said[.6, .2] != said[.3, .7] and all('score' in s for s in said.values())
    page.mouse.click(*at(page, .6, .2))
    page.wait_for_function('() => document.querySelector(".mgca-more").innerText.startsWith("here: ")')
    assert under.inner_text().split(' score')[0] == said[.6, .2].split(' score')[0]
    assert 'palm tree' in page.locator('.mgca-more').inner_text()
    assert page.evaluate('''() => { const c = document.querySelector('.mgca-outline');
      return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v); }''')  # the unit is outlined
    page.get_by_label('background', exact=True).select_option('threshold')
    third = answered(page, second + 1)
    move_to_the_end(page.locator('.mgca-dials .widget-slider').filter(has_text='threshold'))
    answered(page, third + 1)
    page.wait_for_function('() => document.querySelector(".mgca-legend").innerText.includes("background 100 %")')
    page.get_by_label('background', exact=True).select_option('none')
    page.wait_for_function('() => !document.querySelector(".mgca-legend").innerText.includes("background")')
    opened = {}
    for button in ('mask', 'overlay', 'COCO'):
        with page.expect_download() as hope:
            page.locator('.mgca-save').get_by_text(button, exact=True).click()
        path = tmp_path/hope.value.suggested_filename
        hope.value.save_as(path)
        opened[button] = path
    mask = np.asarray(Image.open(opened['mask']))
    assert mask.shape == (384, 384) and set(np.unique(mask)) == {0, 1}
    assert Image.open(opened['overlay']).size == (384, 384)
    assert json.loads(opened['COCO'].read_text())['categories'][0]['name'] == 'palm tree'

def move_to_the_end(slider): # of its way, as a finger does
    slider.scroll_into_view_if_needed()
    b = slider.locator('.noUi-base').bounding_box()
    slider.page.mouse.move(b['x'] + .4*b['width'], b['y'] + b['height']/2)
    slider.page.mouse.down()
    slider.page.mouse.move(b['x'] + b['width'] + 20, b['y'] + b['height']/2, steps=4)
    slider.page.mouse.up()

def choose(page, path): # a file to upload
    with page.expect_file_chooser() as asked:
        page.locator('.mgca-demo .widget-upload').click()
    asked.value.set_files(path)

def wrong_upload(page, tmp_path):
    version = answered(page, 1)
    (tmp_path/'notes.png').write_bytes(b'this is no image')
    choose(page, tmp_path/'notes.png')
    line = page.locator('.mgca-demo [role=alert]')
    line.wait_for()
    assert 'notes.png: not an image' in line.inner_text() and '\n' not in line.inner_text()
    (tmp_path/'noise.png').write_bytes(photo_bytes(size=(90, 120)))
    choose(page, tmp_path/'noise.png')  # and everything goes on
    answered(page, version + 1)
    assert page.locator('.mgca-demo [role=alert]').count() == 0

def places(page):
    page.get_by_text('which places would train this?').click()
    page.locator('.mgca-places figure').first.wait_for()
    say(page, 'caption', 'lion; sand')
    page.get_by_text('lion: object').wait_for()

@pytest.mark.parametrize('width,scheme', [(1280, 'light'), (390, 'dark')])
def test_in_voila(browser, voila, tmp_path, width, scheme):
    page = browser.new_context(viewport=dict(width=width, height=900), color_scheme=scheme).new_page()
    wrong = []
    page.on('pageerror', lambda e: wrong.append(str(e)))
    page.goto(voila, timeout=120_000)
    play(page, tmp_path)
    assert page.evaluate('document.documentElement.scrollWidth') <= width  # nothing sticks out
    dark = page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert (dark == 'rgb(255, 255, 255)') == (scheme == 'light')
    if width > 1000:
        wrong_upload(page, tmp_path)
        page.get_by_label('picture', exact=True).select_option('scene 6')
        places(page)
    assert not wrong
    page.context.close()

@pytest.fixture
def lab(tmp_path):
    if not has('jupyterlab'):
        pytest.skip("needs jupyterlab: pip install '.[notebooks]'")
    cell = dict(cell_type='code', id='a', metadata={}, execution_count=None, outputs=[],
                source="from mgca.apps.demo import Demo\nDemo('tiny')")
    kernel = dict(kernelspec=dict(display_name='Python 3', language='python', name='python3'))
    (tmp_path/'nb').mkdir()
    (tmp_path/'nb/try.ipynb').write_text(json.dumps(dict(cells=[cell], metadata=kernel, nbformat=4, nbformat_minor=5)))
    port = free_port()
    folders = {f'JUPYTER_{k}_DIR': str(tmp_path/k) for k in ('CONFIG', 'DATA', 'RUNTIME')}
    p = subprocess.Popen([BIN/'jupyter-lab', '--no-browser', '--allow-root', f'--ServerApp.port={port}', '--IdentityProvider.token=',
                          f'--ServerApp.root_dir={tmp_path/"nb"}', '--LabApp.news_url=None', '--LabApp.check_for_updates_class='
                          'jupyterlab.NeverCheckForUpdate'], env={**ENV, **folders, 'JUPYTER_PREFER_ENV_PATH': '1'},
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(port, p)
    yield f'http://127.0.0.1:{port}/lab/tree/try.ipynb'
    p.terminate()  # a single Ctrl-C would only make it ask
    p.wait(60)

def test_in_jupyterlab(browser, lab, tmp_path):
    page = browser.new_context(viewport=dict(width=1400, height=1300)).new_page()
    page.goto(lab, timeout=120_000)
    page.locator('.jp-Notebook').wait_for(timeout=120_000)
    page.get_by_text('| Idle').wait_for(timeout=120_000)
    page.locator('.jp-Notebook .jp-InputArea-editor').first.click()
    page.keyboard.press('Shift+Enter')
    play(page, tmp_path)
    wrong_upload(page, tmp_path)
    page.context.close()

# ---- the command

def call(*args, env=None):
    p = subprocess.run([BIN/'mgca_demo', *args], text=True, capture_output=True, env={**ENV, **(env or {})}, timeout=120)
    return p.returncode, [line for line in p.stderr.splitlines() if line.strip()]

def test_without_voila(tmp_path):
    "One line that says how to get it"
    (tmp_path/'voila').mkdir()
    (tmp_path/'voila/__init__.py').write_text('raise ImportError("as if it were not installed")')
    code, lines = call('--no-browser', env=dict(PYTHONPATH=os.pathsep.join([str(tmp_path), ENV.get('PYTHONPATH', '')])))
    assert code == 1 and len(lines) == 1 and "pip install 'mgca[demo]'" in lines[0]

@pytest.mark.skipif(not has('voila'), reason='needs voila')
def test_what_is_wrong_is_said_at_once():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        s.listen()
        code, lines = call('--port', str(s.getsockname()[1]), '--no-browser')
    assert code == 1 and len(lines) == 1 and '--port 0' in lines[0]
    code, lines = call('--model', 'nowhere/at/all', '--no-browser', '--port', '0')
    assert code == 1 and 'nowhere/at/all' in lines[-1] and 'Traceback' not in ''.join(lines)
