"""Every system that learns from the same kept scenes, with and without PAMR.

    python experiments/systems.py [--seeds 0 1 2] [--steps 500] [--systems tcl object mgca mgccl] [--out nbs/results/systems.json]

Same scenes, seeds, steps and held-out scenes as `mgca_quickstart --seeds 3 --minutes 5`; each run has its system's own defaults besides.
Scores are the systems' own, enlarged to the scene; PAMR (if any) acts on them before, at a quarter of the scene's side or the
side of the scores if that is larger. Results are added to the file after every run, so that it may be stopped and started again.
"""
import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F

from mgca.apps.quickstart import HeldOut, score
from mgca.apps.report import STYLES
from mgca.core.base import write_json
from mgca.segment.refine import pamr
from mgca.systems.registry import build, configure
from mgca.train.loop import train
from mgca.train.source import FeatureCache, data_source

UNITS = 'pixel', 'adaptive'
POSTS = 'plain', 'pamr'

def refined(scores, imgs): # (B,C,h,w) scores after PAMR
    side = max(scores.shape[-1], imgs.shape[-1]//4)
    scores = F.interpolate(scores, (side, side), mode='bilinear', align_corners=False)
    return pamr(F.interpolate(imgs, (side, side), mode='bilinear', align_corners=True), scores)

@torch.no_grad()
def measured(system, held, features='decoder', posts=POSTS): # dict of unit -> post -> style -> [mIoU, boundary F]
    out = {u: {p: {} for p in posts} for u in UNITS}
    for style, h in held.items():
        names, size = h.dataset.class_names, h.labels.shape[1:]
        text_emb, maps = system.encode_text(names), {(u, p): [] for u in UNITS for p in posts}
        for x, imgs in zip(h.x.split(20), h.inputs(20)):
            for u in UNITS:
                scores, _ = system.scores(imgs, text_emb, u, features, x=x)
                for p in posts:
                    s = scores if p == 'plain' else refined(scores, imgs)
                    labels = F.interpolate(s, size, mode='bilinear', align_corners=False).argmax(1)
                    maps[u, p].append(labels.to(torch.uint8))
        for (u, p), m in maps.items():
            out[u][p][style] = [round(v, 6) for v in score(torch.cat(m), h.labels, len(names))]
    return out

def source_for(system, kept, captions): # the same images, read by this system
    out = FeatureCache(kept, captions, system.reader(captions))
    out.facts, out.decision = dict(name='scenes', hash=None, units=None), dict(kept=len(captions), why='kept for all systems')
    return out

def started(out, config): # `Path`, dict -> the report so far, a new one where there is none
    report = json.loads(out.read_text()) if out.exists() else dict(config=config, results={})
    if report['config'] != config:
        raise SystemExit(f'{out} was made with other settings; choose another --out')
    return report

def run_all(names, seeds, steps, out): # list of systems, list of seeds, steps, `Path`
    told = dict(steps=steps, cached_features=12*steps)
    report, held = started(out, told), None
    for seed in seeds:
        first, shared = build(configure(system='tcl', seed=seed, **told)).eval(), None
        held = held or {s: HeldOut(first, s) for s in STYLES}
        todo = [n for n in names if str(seed) not in report['results'].get(n, {})]
        if 'maskclip' not in report['results']:
            report['results']['maskclip'] = {'0': measured(first, held, 'maskclip')}
        for name in todo:
            shared = shared or data_source(first, False)  # TCL looks at images, too: its source serves all
            cfg = configure(system=name, seed=seed, **told)
            source = source_for(build(cfg), shared.kept, shared.captions)
            system, _ = train(cfg, source=source, progress=False)
            report['results'].setdefault(name, {})[str(seed)] = found = measured(system.eval(), held)
            write_json(out, report)
            print(seed, name, {f'{u} {p}': [round(100*v[0], 1) for v in found[u][p].values()] for u in UNITS for p in POSTS}, flush=True)

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seeds', type=int, nargs='*', default=[0, 1, 2])
    p.add_argument('--steps', type=int, default=500)
    p.add_argument('--systems', nargs='*', default=['tcl', 'object', 'mgca', 'mgccl'])
    p.add_argument('--out', default='nbs/results/systems.json')
    a = p.parse_args()
    run_all(a.systems, a.seeds, a.steps, Path(a.out))
