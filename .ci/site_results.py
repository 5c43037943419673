"Pages of results and pictures, from the JSON files in nbs/results and the outputs that notebooks keep: no number is typed here."
import base64
import html
import io
import json
import re

import matplotlib
import numpy as np
from PIL import Image

from mgca.apps.photos import markdown
from mgca.apps.report import methods
from mgca.core.base import mean_and_range
from mgca.method.units import UNITS
from mgca.systems.registry import SYSTEMS
from mgca.systems.rows import ABLATIONS, ROWS

matplotlib.use('agg')
matplotlib.rcParams['svg.hashsalt'] = 'mgca'  # the same picture twice is the same file

NAMES = {'maskclip': 'MaskCLIP (no training)', 'start': 'start: names of an ImageNet classifier', 'pamr': 'PAMR',
         **{n: e.title for n, e in SYSTEMS.items()}}
STYLES = {'seen': 'drawing styles of the training scenes', 'unseen': 'a drawing style that nothing was trained on'}
SETS = {'msrc21': 'MSRC-21', 'camvid': 'CamVid', 'coco': 'COCO'}
THUMB = 480 # px, width of a picture in the gallery

def read(folder, name): return json.loads((folder/f'{name}.json').read_text(encoding='utf-8'))
def percent(values): return [100*v for v in values]
def called(name): return NAMES.get(name, name)

def table(rows, columns): # dict of row -> column -> list of numbers, one a seed -> Markdown
    seeds = {r: max(len(v) for v in cells.values()) for r, cells in rows.items()}
    lines = [[r, *(mean_and_range(cells[c]) if c in cells else '' for c in columns), str(seeds[r])] for r, cells in rows.items()]
    return markdown(['', *columns, 'seeds'], lines)

def chart(rows, columns, title, path): # as `table`; writes an SVG: a dot a seed, a line at the mean
    from matplotlib.figure import Figure
    fig = Figure(figsize=(8, .9 + .2*len(rows)*len(columns)), layout='constrained')
    ax = fig.add_subplot()
    colours = matplotlib.colormaps['tab10'].colors
    for i, cells in enumerate(rows.values()):
        for j, column in enumerate(c for c in columns if c in cells):
            values, y = cells[column], i + .8*(j + .5)/len(columns) - .4
            ax.plot(values, [y]*len(values), 'o', ms=5, alpha=.6, mew=0, color=colours[j], label=column if i == 0 else None)
            ax.plot([np.mean(values)]*2, [y - .09, y + .09], color=colours[j], lw=2)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - .5, -.5)
    ax.set_xlabel(title)
    ax.grid(axis='x', alpha=.3)
    ax.spines[['top', 'right', 'left']].set_visible(False)
    handles, labels = ax.get_legend_handles_labels()
    if len(columns) > 1:
        fig.legend(handles, labels, loc='outside upper center', ncols=len(columns), frameon=False, fontsize=9)
    fig.savefig(path, format='svg', metadata=dict(Date=None))

class Page:
    "Markdown that grows, and the charts it shows"
    def __init__(self, static):
        self.static, self.parts = static, []

    def say(self, text):
        self.parts.append(text)

    def show(self, title, rows, columns, drawn=True): # a table and, if drawn, its chart
        self.say(f'**{title}**')
        self.say(table(rows, columns))
        if drawn:
            name = f"{len(self.parts):02}-{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')}.svg"
            chart(rows, columns, title, self.static/name)
            self.say(f'![{title}: a dot a seed, a line at the mean](_static/{name}){{.chart}}')

    def text(self):
        return '\n\n'.join(self.parts) + '\n'

def both(page, titles, rows_of, about=STYLES): # a table of mIoU with its chart, one of boundary F without
    for part, title in titles.items():
        for key, said in about.items():
            rows = rows_of(part, key)
            page.show(f'{title}, {said}', rows, list(next(iter(rows.values()))), title.startswith('mIoU'))

def quickstart(page, report):
    cfg, titles = report['config'], methods()
    def rows(part, style):
        return {titles.get(m, m): {u: percent(d[style]) for u, d in units.items()} for m, units in report[part].items()}
    page.say('## Quickstart')
    page.say(f"Three grains of prediction on the embedded scenes: {cfg['steps']} steps a system, {cfg['scenes']} held-out scenes "
             f"a style, {len(report['seeds'])} seeds ([stored](results/quickstart.json), [explained](apps/01_quickstart.ipynb)).")
    both(page, {'miou': 'mIoU %', 'boundary_f': 'boundary F %'}, rows)

def levels(page, report):
    def rows(_, style):
        units = next(iter(next(iter(report['miou'].values())).values()))
        return {n: {u: percent(r[u][style] for r in runs.values()) for u in units} for n, runs in report['miou'].items()}
    page.say('## Levels and choices')
    page.say(f"Every level of MGCA alone and with others, and what its choices change, {report['config']['steps']} steps on the "
             'same scenes ([stored](results/levels.json), [explained](systems/04_mgca.ipynb)).')
    both(page, {'miou': 'mIoU %'}, rows)

def systems(page, report):
    readings = {f'{u}, {called(p)}' if p != 'plain' else u: (u, p) for u in ('pixel', 'adaptive') for p in ('plain', 'pamr')}
    def rows(k, style):
        return {called(n): {title: percent(r[u][p][style][k] for r in runs.values()) for title, (u, p) in readings.items()}
                for n, runs in report['results'].items()}
    page.say('## Systems')
    page.say(f"Systems that learn from the same kept scenes, each with its own defaults, {report['config']['steps']} steps, with "
             'and without PAMR ([stored](results/systems.json), [explained](systems/05_tcl.ipynb)).')
    both(page, {0: 'mIoU %', 1: 'boundary F %'}, rows)

def compared(page, world, report, sets): # a world of `mgca_compare`, its file, dict of set -> what to call it
    def rows(part, key):
        return {title(runs): {u: percent(r['sets'][key][u][part] for r in runs.values()) for u in UNITS} for runs in systems.values()}
    def title(runs): return next(iter(runs.values()))['title']
    systems = {n: runs for n, runs in report['rows'].items() if n in ROWS}
    choices = {title(runs): {said: percent(r['sets'][key]['adaptive']['miou'] for r in runs.values()) for key, said in sets.items()}
               for n, runs in report['rows'].items() if n in ABLATIONS}
    page.say(f"All systems on the same {world}: one encoder, one set of captions, one protocol. Rows *with masks* have seen what the "
             f"others must guess ([stored](results/compare_{world}.json), [explained](apps/13_compared.ipynb)).")
    both(page, {'miou': f'mIoU % on {world}', 'boundary_f': f'boundary F % on {world}'}, rows, sets)
    page.show(f'mIoU % on {world}, MGCA with other choices, adaptive unit', choices, list(sets.values()), False)

def photographs(page, report, named):
    titles = {n: methods().get(n, called(n)) for n in report}  # files of results have names of their own for some systems
    readings = list(next(iter(report['mgca'].values()))[next(iter(SETS))])
    def values(runs, reading, part):
        return {title: percent(r[s][reading][part] for r in runs.values()) for s, title in SETS.items()}
    def contrasted(part, _):
        return {titles[n]: values(runs, 'adaptive', part) for n, runs in report.items()}
    def read_so(part, _):
        return {u: values(report['mgca'], u, part) for u in readings}
    page.say('## Photographs')
    page.say('Trained on captioned photographs with the `lite` pair, tested on three sets of others, by what is contrasted and by '
             'how the model is read ([stored](results/photos.json), [explained](apps/02_photos.ipynb)).')
    both(page, {'miou': 'mIoU %', 'boundary_f': 'boundary F %'}, contrasted, {'': 'by what is contrasted, adaptive unit'})
    both(page, {'miou': 'mIoU %', 'boundary_f': 'boundary F %'}, read_so, {'': 'by how all levels are read'})
    classes(page, report, titles, named)

def classes(page, report, titles, named):
    page.say(f"**IoU % of every class of MSRC-21, adaptive unit**, with the number of the {named['photographs']} training "
             'photographs whose captions name it ([stored](results/named.json))')
    lines = []
    for c, n in sorted(named['named'].items(), key=lambda i: -i[1]):
        found = [[r['msrc21']['adaptive']['iou'][c] for r in runs.values()] for runs in report.values()]
        lines.append([c, str(n), *(mean_and_range(percent(f)) for f in found)])
    page.say(markdown(['class', 'named in', *titles.values()], lines))

def results(folder, static): # nbs/results, folder for charts -> Markdown
    page = Page(static)
    page.say('# Results')
    page.say('Every number here is read from the files that the runs have left; none is typed. Mean of the seeds, lowest and highest in '
             'brackets where they differ. All systems are our re-implementations, and none of these numbers is a paper\'s.')
    quickstart(page, read(folder, 'quickstart'))
    levels(page, read(folder, 'levels'))
    systems(page, read(folder, 'systems'))
    page.say('## Everyone on the same work')
    compared(page, 'scenes', read(folder, 'compare_scenes'), STYLES)
    compared(page, 'photos', read(folder, 'compare_photos'), {f'{k}-dev': title for k, title in SETS.items()})
    photographs(page, read(folder, 'photos'), read(folder, 'named'))
    return page.text()

def card(nb): # notebook -> title, sentence, bytes of its first picture or None
    text = '\n'.join(''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'markdown')
    title = re.search(r'^# (.+)$', text, re.M)[1]
    said = re.search(r'^> (.+)$', text, re.M)
    data = [o.get('data', {}) for c in nb['cells'] for o in c.get('outputs', [])]
    picture = next((''.join(d[k]) for d in data for k in ('image/png', 'image/jpeg') if k in d), None)
    return title, said[1] if said else '', base64.b64decode(picture) if picture else None

def thumbnail(data, path): # bytes of a picture; writes a smaller one -> its size
    img = Image.open(io.BytesIO(data)).convert('RGB')
    img.thumbnail((THUMB, THUMB))
    img.save(path, quality=85)
    return img.size

def gallery(cards, floors, static): # dict of notebook -> card, floors, folder for pictures -> Markdown
    parts = ['# Gallery', 'The first picture of every notebook: scenes drawn for this project and photographs that come with scikit-image.']
    (static/'gallery').mkdir()
    for floor in floors:
        parts.append(f'## {floor}')
        tiles = []
        for name, (title, said, data) in cards.items():
            if name.startswith(f'{floor}/') and data:
                file = f'gallery/{name.replace("/", "-")}.jpg'
                w, h = thumbnail(data, static/file)
                t = html.escape(title)
                tiles.append(f'<a class="tile" href="{name}.html" title="{html.escape(said)}"><img loading="lazy" width="{w}" height="{h}" '
                             f'alt="{t}" src="_static/{file}"><span>{t}</span></a>')
        parts.append('<div class="tiles">\n' + '\n'.join(tiles) + '\n</div>')
    return '\n\n'.join(parts) + '\n'
