"""What each level is worth: every level alone and added to the others, on the embedded scenes.

    python experiments/levels.py [--seeds 0 1 2] [--steps 500] [--only levels] [--out nbs/results/levels.json]

Same data, seeds, steps and held-out scenes as `mgca_quickstart --seeds 3`. Each run is about a minute on two cores.
Results are added to the file after every run, so that it may be stopped and started again.
"""
import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from mgca.apps.quickstart import HeldOut, predict_styles, score
from mgca.apps.report import STYLES
from mgca.core.base import write_json
from mgca.method.units import UNITS
from mgca.systems.registry import build, configure
from mgca.systems.rows import only_levels
from mgca.train.loop import train
from mgca.train.source import data_source

SETS = ['object', 'region', 'pixel', 'object region', 'object pixel', 'region pixel', 'object region pixel']
CHOICES = {'hardest positives': dict(hard='hard'), 'easiest positives': dict(hard='easy'), 'pixel weight 1': dict(w_pix=1.),
           'k_n 8': dict(k_n=8), 'k_n all': dict(k_n=0), 'k_pix 8': dict(k_pix=8),
           '6 meta-points': dict(regions=6), '24 meta-points': dict(regions=24), 'no ignore band': dict(rho_pos=.5, rho_neg=.5)}

def settings(levels): # names of levels with spaces between them -> dict for `replace`
    return {k: v for k, v in only_levels(*levels.split()).items() if k != 'system'}

def chosen(only): # value of --only -> dict of name -> changed settings
    sets = {s: settings(s) for s in SETS}
    groups = dict(levels=sets, choices=CHOICES)
    return groups.get(only, {n: r for n, r in {**sets, **CHOICES}.items() if only in ('', n)})

def known(steps, seed=0): # configuration of the all-levels run
    return configure(steps=steps, seed=seed, cached_features=12*steps)

def one_run(cfg, source, held): # -> dict of unit -> style -> mIoU
    system, _ = train(cfg, source=source, progress=False)
    pred, classes = predict_styles(system, held), len(held['seen'].dataset.class_names)
    return {u: {s: round(score(pred[s][u], held[s].labels, classes)[0], 6) for s in STYLES} for u in UNITS}

def started(out, steps): # the report so far, a new one where there is none
    config = json.loads(json.dumps({k: v for k, v in asdict(known(steps)).items() if k != 'seed'}))
    report = json.loads(out.read_text()) if out.exists() else dict(config=config, miou={})
    if report['config'] != config:
        raise SystemExit(f'{out} was made with other settings; choose another --out')
    return report

def run_all(runs, seeds, steps, out): # dict of name -> changed settings, list of seeds, steps, `Path`
    report, held = started(out, steps), None
    for seed in seeds:
        cfg, source = known(steps, seed), None
        for name, changes in runs.items():
            done = report['miou'].setdefault(name, {})
            if str(seed) in done:
                continue
            fresh = build(cfg)
            held = held or {s: HeldOut(fresh, s) for s in STYLES}
            source = source or data_source(fresh, False)
            done[str(seed)] = one_run(replace(cfg, **changes), source, held)
            write_json(out, report)
            print(seed, name, {u: [round(100*x, 1) for x in v.values()] for u, v in done[str(seed)].items()}, flush=True)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seeds', type=int, nargs='*', default=[0, 1, 2])
    p.add_argument('--steps', type=int, default=500)
    p.add_argument('--only', default='', help='levels, choices or the name of a run')
    p.add_argument('--out', default='nbs/results/levels.json')
    a = p.parse_args()
    if not chosen(a.only):
        raise SystemExit(f'unknown run {a.only!r}; use levels, choices, or one of {", ".join(SETS + list(CHOICES))}')
    run_all(chosen(a.only), a.seeds, a.steps, Path(a.out))
