"The page of the quickstart: whole in one file, readable without its script, with a slider in a browser."
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mgca.apps.report import STYLES, html_report, report_pictures
from mgca.data.scenes import SceneBenchmark
from mgca.method.units import UNITS

@pytest.fixture(scope='module')
def page(tmp_path_factory):
    scenes = SceneBenchmark(8)
    _, imgs, labels = zip(*scenes)
    held = SimpleNamespace(images=np.stack(imgs), labels=torch.from_numpy(np.stack(labels)))
    found, wrong = ({s: {'adaptive': p} for s in STYLES} for p in (held.labels, held.labels*0))
    log = [dict(step=k, losses=dict(a=1/k)) for k in (1, 2)]
    pictures = report_pictures(dict(maskclip=(wrong, [], None), mgca=(found, log, None)), dict.fromkeys(STYLES, held), scenes.class_names)
    cells = {u: dict(seen=[.5], unseen=[.25]) for u in UNITS}
    numbers = dict(miou=dict(maskclip=cells, mgca=cells), boundary_f=dict(maskclip=cells, mgca=cells))
    path = tmp_path_factory.mktemp('report')/'report.html'
    path.write_text(html_report(dict(numbers, config=dict(scenes=8, classes=244), seeds=[0], seconds=1.), pictures), encoding='utf-8')
    return path

def test_without_its_script(page):
    "Truth and predictions stand side by side, with what is right of each; columns are explained; nothing is asked of a network"
    text = re.sub('<script>.*?</script>', '', page.read_text(encoding='utf-8'), flags=re.S)
    assert text.count('<section class="scene">') == text.count('<figure class="truth">') == text.count('"said best"') == 12
    assert text.count('all levels (MGCA): 100% right</figcaption>') == 12 and 'http' not in text and '<link' not in text
    assert all(f'<td>{c}</td><td>' in text for c in (*UNITS, 'mIoU %', 'boundary F %', 'seen / unseen'))

@pytest.mark.skipif(not shutil.which('chromium'), reason='needs chromium')
def test_slider_in_a_browser(page):
    flags = ['--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=3000', '--dump-dom']
    p = subprocess.run(['chromium', *flags, page.as_uri()], text=True, capture_output=True, timeout=120)
    assert p.stdout.count('class="stage"') == p.stdout.count('type="range"') == p.stdout.count('aria-pressed="true"') == 12
    stage = re.search('<div class="stage".*?<div class="tiles">', p.stdout, re.S)[0]
    assert '--cut: 50%' in stage and '<span>truth</span><span>all levels (MGCA): 100% right</span>' in stage
