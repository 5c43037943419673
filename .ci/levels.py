"""What each level is worth: every level alone and added to the others, on the embedded scenes.

    python .ci/levels.py [--seeds 0 1 2] [--steps 500] [--only levels] [--out nbs/results/levels.json]

Same data, seeds, steps and held-out scenes as `mgca_quickstart --seeds 3`. Each run is about a minute on two cores.
Results are added to the file after every run, so that it may be stopped and started again.
"""
import argparse, json
from dataclasses import asdict, replace
from pathlib import Path
from mgca.core.base import write_json
from mgca.encoders.towers import load_encoder
from mgca.apps.quickstart import STYLES, HeldOut, predict_styles, score
from mgca.systems.model import TrainConfig, configure
from mgca.train.source import data_source
from mgca.train.loop import train
from mgca.method.units import UNITS

ON = TrainConfig()
LEVELS = dict(object='w_obj', region='w_reg', pixel='w_pix')
SETS = ['object', 'region', 'pixel', 'object region', 'object pixel', 'region pixel', 'object region pixel']
CHOICES = {'hardest positives': dict(hard='hard'), 'easiest positives': dict(hard='easy'), 'pixel weight 1': dict(w_pix=1.), 'k_n 8': dict(k_n=8), 'k_n all': dict(k_n=0),
           'k_pix 8': dict(k_pix=8), '6 meta-points': dict(regions=6), '24 meta-points': dict(regions=24), 'no ignore band': dict(rho_pos=.5, rho_neg=.5)}

def settings(levels): # weights of a set of levels; a fine level by itself has nothing to wait for
    return {w: getattr(ON, w)*(level in levels.split()) for level, w in LEVELS.items()} | ({} if 'object' in levels else dict(levels_after=0.))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seeds', type=int, nargs='*', default=[0, 1, 2])
    p.add_argument('--steps', type=int, default=500)
    p.add_argument('--only', default='', help='levels, choices or the name of a run')
    p.add_argument('--out', default='nbs/results/levels.json')
    a = p.parse_args()
    sets = {s: settings(s) for s in SETS}
    out, runs = Path(a.out), dict(levels=sets, choices=CHOICES).get(a.only, {n: r for n, r in {**sets, **CHOICES}.items() if a.only in ('', n)})
    config = json.loads(json.dumps({k: v for k, v in asdict(configure(steps=a.steps, cache=12*a.steps)).items() if k != 'seed'}))
    report = json.loads(out.read_text()) if out.exists() else dict(config=config, miou={})
    if report['config'] != config:
        raise SystemExit(f'{out} was made with other settings; choose another --out')
    enc = load_encoder()
    held = {s: HeldOut(enc, s) for s in STYLES}
    for seed in a.seeds:
        cfg = configure(steps=a.steps, seed=seed, cache=12*a.steps)
        source = data_source(cfg, enc, False)
        for name, changes in runs.items():
            done = report['miou'].setdefault(name, {})
            if str(seed) in done:
                continue
            model, _ = train(replace(cfg, **changes), source=source, progress=False)
            pred = predict_styles(model, enc, held)
            done[str(seed)] = {u: {s: round(score(pred[s][u], held[s].labels, len(held[s].dataset.class_names))[0], 6) for s in STYLES} for u in UNITS}
            write_json(out, report)
            print(seed, name, {u: [round(100*x, 1) for x in v.values()] for u, v in done[str(seed)].items()}, flush=True)
