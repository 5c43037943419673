"What notebooks say of the comparison, in words, is what was kept of its runs; in apps/13_compared every decimal is checked"
import json
import re
from pathlib import Path
import pytest
from mgca.core.base import mean_and_range
from mgca.systems.rows import ROWS

ROOT = Path(__file__).parent.parent
PHOTOS = 'msrc21', 'camvid', 'coco'

def kept(name): # dict
    return json.loads((ROOT/f'nbs/results/{name}.json').read_text())

SCENES, PHOTOGRAPHS = (kept(f'compare_{world}')['rows'] for world in ('scenes', 'photos'))

def seeds(row, title, unit='adaptive', part='miou'): # list, percent
    rows = SCENES if title in ('seen', 'unseen') else PHOTOGRAPHS
    title = title if title in ('seen', 'unseen') else f'{title}-dev'
    return [100*r['sets'][title][unit][part] for r in rows[row].values()]

def average(numbers):
    return sum(numbers)/len(numbers)

def lost(row): # points of seen styles, adaptive unit
    return average(seeds('mgca', 'seen')) - average(seeds(row, 'seen'))

def by_pixels(row): # points of seen styles
    return average(seeds(row, 'seen', 'pixel'))

def mean(*which, **more): # text
    return f'{average(seeds(*which, **more)):.1f}'

def span(*which, **more): # text, such as '1.0 to 2.0'
    found = seeds(*which, **more)
    return f'{min(found):.1f} to {max(found):.1f}'

def ranged(*which): # text, such as '1.5 (1.0 to 2.0)'
    return mean_and_range(seeds(*which))

def listed(numbers): # text, such as '1.0, 2.0 and 3.0'
    *some, last = (f'{n:.1f}' for n in numbers)
    return f"{', '.join(some)} and {last}"

def of_three(runs): # list, a mean of the three sets for each seed
    return [100*sum(r['sets'][f'{s}-dev']['adaptive']['miou'] for s in PHOTOS)/3 for r in runs.values()]

def slashed(row): # text, a mean for each set of photographs
    return ' / '.join(mean(row, s) for s in PHOTOS)

def said(): # dict of cell -> phrases that must be in it
    sky = kept('sky')
    fits = {name: sky[name]['fits'] for name in ('object level', 'all levels, before')}
    at_sky = [f"{f['sky']['pedestrian|person']:.2f}".lstrip('0') for f in fits.values()]
    worse = [min(r['behind']['unseen'])*100 for r in SCENES['object'].values()]
    fga = kept('fillers')['photos']['fgaseg']
    ours, objects, before = (of_three(PHOTOGRAPHS[row]) for row in ('mgca', 'object', 'double-no-balance'))
    lost_sky = [seeds(row, 'camvid')[::2] for row in ('double-no-balance', 'mgca')]
    return {
        '13_compared c011': [
            f"{mean('mgca', 'seen')} on seen styles ({span('mgca', 'seen')})",
            f"the object level, as in TCL, has {ranged('object', 'seen')}",
            f"{mean('mgca', 'unseen')} on unseen ones ({span('mgca', 'unseen')})",
            f"against {ranged('object', 'unseen')}",
            f"{mean('mgca', 'seen', 'pixel')} against {mean('object', 'seen', 'pixel')}",
            f"has {mean('decoder-masks', 'seen')} and {mean('decoder-masks', 'unseen')}",
            f"{mean('decoder-masks', 'seen', part='boundary_f')} with masks, {mean('mgca', 'seen', part='boundary_f')} for MGCA, "
            f"and {mean('object', 'seen', part='boundary_f')} for the object level",
            'the others begin at {:.1f} and {:.1f}'.format(*(w for w in worse if w < 0)).replace('-0.', '-.'),
            f"*less*, {mean('fgaseg-masks', 'seen')};",
            f"of the frozen features tell: {mean('probe', 'seen')}."],
        '13_compared n003': [
            f"{mean('mgca', 'msrc21')} against {mean('object', 'msrc21')}",
            f"{mean('mgca', 'coco')} against {mean('object', 'coco')}",
            f"from seed to seed ({span('mgca', 'camvid')})",
            f"({mean('mgca', 'camvid')} against {mean('object', 'camvid')})",
            f"The mean of the three sets is {listed(ours)} by seed, of the object level {listed(objects)}",
            f"on the mean of the seeds by {average(ours) - average(objects):.1f}",
            f"(cosine {at_sky[1]} instead of {at_sky[0]})",
            f"does what MGCA does: {listed(of_three(PHOTOGRAPHS['mgccl']))}",
            'whole images ({:.1f} to {:.1f})'.format(*sorted(of_three(PHOTOGRAPHS['image']))[::2]),
            f"have {listed(seeds('fgaseg', 'camvid'))}, where MGCA's have {listed(seeds('mgca', 'camvid'))}",
            f"the means were {listed(before)} (below)",
            f"on MSRC's ({mean('mgca', 'msrc21', part='boundary_f')} against {mean('object', 'msrc21', part='boundary_f')})",
            f"had {100*fga['1']['pads=0']['msrc21-dev']:.1f} on MSRC's",
            f"in streets ({mean('mgca', 'camvid', part='boundary_f')} against {mean('object', 'camvid', part='boundary_f')})",
            f"on COCO's ({mean('mgca', 'coco', part='boundary_f')} against {mean('object', 'coco', part='boundary_f')})"],
        '13_compared n0033': [
            f"({average(of_three(PHOTOGRAPHS['images-500'])):.0f} on the mean of the three sets; "
            f"image level {average(of_three(PHOTOGRAPHS['image'])):.1f})",
            f"a good deal more: {average(of_three(PHOTOGRAPHS['images-2000'])):.1f}, where 8,000 have "
            '{:.1f} with a range of {:.1f} to {:.1f}'.format(average(ours), min(ours), max(ours)),
            slashed('sentences'),
            'sky ({} instead of {})'.format(*map(listed, lost_sky)),
            f"three sets were {listed(before)}",
            'the streets have {:.1f}, {:.1f} with half the weights, {:.1f} with balance, {:.1f} with both'.format(
                *(seeds(row, 'camvid')[0] for row in ('double-no-balance', 'no-balance', 'double', 'mgca')))],
        '13_compared n008': [
            f"within {max(lost(r) for r in ('object+region', 'object+pixel')):.1f} points of all three",
            f"without them lose {lost('region+pixel'):.1f}. Alone, regions lose {lost('region'):.1f}",
            f"*object level* above) {lost('object'):.1f} and pixels {lost('pixel'):.1f}.",
            f"worth {lost('random-8') - lost('hard-8'):.1f} points over random ones when eight",
            f"and {by_pixels('hard-8') - by_pixels('random-8'):.1f} by pixels. Among",
            f"({span('random-negatives', 'seen')}), and {by_pixels('mgca') - by_pixels('random-negatives'):.1f} by pixels",
            f"cost {lost('hard-positives'):.1f} points with adaptive units",
            f"nineteen of boundary F ({mean('hard-positives', 'seen', part='boundary_f')})",
            f"lose {lost('regions-4'):.1f} of seen styles",
            f"({mean('decoder-x2', 'seen')} against {mean('mgca', 'seen')}, "
            f"unseen {mean('decoder-x2', 'unseen')} against {mean('mgca', 'unseen')})",
            '(boundary F {} against {})'.format(*(mean(r, 'seen', 'pixel', 'boundary_f') for r in ('decoder-x2', 'mgca'))),
            f"learned by heart ({mean('images-500', 'seen')}), 2,000 give {mean('images-2000', 'seen')}, 6,000 {mean('mgca', 'seen')} "
            f"and 12,000 {mean('images-12000', 'seen')} ({listed(seeds('images-12000', 'seen'))})",
            f"on unseen styles {listed(average(seeds(r, 'unseen')) for r in ('images-500', 'images-2000', 'mgca', 'images-12000'))}",
            f"({ranged('balance', 'seen')}; unseen {ranged('balance', 'unseen')}), "
            f"and costs {by_pixels('mgca') - by_pixels('balance'):.1f} by pixels"],
        '13_compared n017': [
            f"{mean('mgca', 'unseen')} against {mean('object', 'unseen')} at the object level", f"and {mean('image', 'unseen')} for whole"],
        '13_compared n016': [  # what the older runs had is kept nowhere else
            f"36.0 there, {seeds('object', 'seen')[0]:.1f} here; regions alone 34.9 and {seeds('region', 'seen')[0]:.1f}",
            f"seed 2, had 3.1 and has {seeds('groupvit', 'seen')[2]:.1f}"],
        '10_levels n403': [f"The three sets have {listed(ours)} on the mean, the object level {listed(objects)}."],
        '02_grounding n105': [
            f"({mean('decoder-x2', 'seen')} against {mean('mgca', 'seen')}, row `decoder-x2`"],
        '11_groupvit r001': [
            f"GroupViT has {ranged('groupvit', 'seen')} and {ranged('groupvit', 'unseen')}",
            f"with {mean('image', 'seen', 'group')} and {mean('image', 'unseen', 'group')}."],
        '13_pgseg r001': [
            f"PGSeg has {ranged('pgseg', 'seen')} and {ranged('pgseg', 'unseen')}",
            f"GroupViT {mean('groupvit', 'seen')} and {mean('groupvit', 'unseen')}"]}

@pytest.mark.parametrize('place', said())
def test_words_say_what_was_kept(place):
    name, cell = place.split()
    path, = (ROOT/'nbs').glob(f'*/{name}.ipynb')
    text = ''.join(next(c for c in json.loads(path.read_text())['cells'] if c['id'] == cell)['source'])
    for phrase in said()[place]:
        assert phrase in text, phrase
        text = text.replace(phrase, '')
    if name == '13_compared':
        assert not re.findall(r'(?<!\w)\d*\.\d+', re.sub(r'`[^`]*`', '', text)), 'a number that no phrase of this test has'

def test_leads_are_as_told():
    "In how many seeds the interval of MGCA's lead over the object level is above nothing, and below"
    def ahead(rows, title):
        return sum(r['behind'][title][0] > 0 for r in rows.values())
    assert [ahead(SCENES['object'], s) for s in ('seen', 'unseen')] == [3, 1]
    assert [ahead(PHOTOGRAPHS['object'], f'{s}-dev') for s in PHOTOS] == [3, 1, 1]
    assert sum(r['behind']['camvid-dev'][1] < 0 for r in PHOTOGRAPHS['object'].values()) == 2
    before = [r['behind'][f'{s}-dev'] for r in PHOTOGRAPHS['double-no-balance'].values() for s in PHOTOS]
    assert len(before) == 9 and all(high >= 0 for _, high in before), 'the older default is ahead beyond an interval'
    assert [i // 3 for i, (low, _) in enumerate(before) if i % 3 == 1 and low > 0] == [0, 2]
    for style in ('seen', 'unseen'):
        assert min(seeds('mgca', style)) > max(seeds('object', style)), 'the ranges of the seeds touch'
    for name in (n for n in ROWS if n in SCENES and average(seeds(n, 'seen')) > 10):
        assert average(seeds(name, 'unseen')) < average(seeds(name, 'seen'))/2, f'an unseen style costs {name} less than half'
