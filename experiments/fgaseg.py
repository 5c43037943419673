"""FGAseg taught by captions, FGAseg taught by masks, and MGCA: same encoder, images, steps, seeds. Masks have a track of their own.

    python experiments/fgaseg.py [--seeds 0 1 2] [--steps 400] [--batch 16] [--scenes 100] [--out nbs/results/fgaseg.json]

mIoU on held-out embedded scenes with the pixel and the adaptive unit. Results are added to the file after every run, so that it
may be stopped and started again.
"""
import argparse
import time
from pathlib import Path

from systems import measured, started  # the script beside this one

from mgca.apps.quickstart import HeldOut
from mgca.apps.report import STYLES
from mgca.core.base import write_json
from mgca.systems.registry import build, configure
from mgca.train.loop import train

RUNS = dict(captions=dict(system='fgaseg', size='scenes', supervision='captions'),
            masks=dict(system='fgaseg', size='scenes', supervision='masks'), mgca=dict(system='mgca'))

def on_scenes(system, scenes, features='decoder'): # `System`, held-out scenes a style -> dict of unit -> style -> [mIoU, boundary F]
    held = {style: HeldOut(system, style, scenes) for style in STYLES}
    return {unit: found['plain'] for unit, found in measured(system, held, features, ['plain']).items()}

def run_all(seeds, steps, batch, scenes, out): # list of seeds, steps, images a step, held-out scenes a style, `Path`
    told = dict(steps=steps, batch=batch, cached_features=8*batch*steps//12)
    config = dict(told, scenes=scenes)
    report = started(out, config)
    if 'maskclip' not in report['results']:
        fresh = build(configure(system='mgca', **told)).eval()
        report['results']['maskclip'] = {'0': on_scenes(fresh, scenes, 'maskclip')}
    for seed in seeds:
        for name, settings in RUNS.items():
            if str(seed) in report['results'].get(name, {}):
                continue
            t0 = time.time()
            system, log = train(configure(seed=seed, **settings, **told), progress=False)
            found = on_scenes(system.eval(), scenes)
            report['results'].setdefault(name, {})[str(seed)] = found
            write_json(out, report)
            shown = {u: [round(100*v[0], 1) for v in styles.values()] for u, styles in found.items()}
            print(seed, name, shown, f'{log[-1]["loss"]:.3f}', f'{time.time() - t0:.0f} s', flush=True)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seeds', type=int, nargs='*', default=[0, 1, 2])
    p.add_argument('--steps', type=int, default=400)
    p.add_argument('--batch', type=int, default=16)
    p.add_argument('--scenes', type=int, default=100)
    p.add_argument('--out', default='nbs/results/fgaseg.json')
    a = p.parse_args()
    run_all(a.seeds, a.steps, a.batch, a.scenes, Path(a.out))
