"""A run that is hurt for an hour, beside one that is left alone: the same losses, weights and counts, and flat memory.

    python experiments/soak.py [--minutes 60] [--out soak]

Both train by `mgca_train` on the same shards, of which every 20th sample is broken. Every few minutes one of them is killed
(SIGKILL, SIGTERM, Ctrl-C), loses its loader process, or finds the disk full, and is started again with --resume.
Memory is that of the run that is left alone, its loader process included, with shared pages counted once.
"""
import argparse
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from mgca.core.base import write_json
from mgca.data.scenes import SceneCaptions
from mgca.data.sources import write_shard

ENV = dict(os.environ, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1')
BROKEN = dict(jpg=b'no picture'), dict(txt=b''), dict(txt=b'\xff\xfe broken'), dict(jpg=None), dict(txt=None)

def jpeg_bytes(img): # (3,H,W) uint8 tensor
    b = io.BytesIO()
    Image.fromarray(img.permute(1, 2, 0).numpy()).save(b, 'JPEG')
    return b.getvalue()

def make_shards(folder, shards=8, each=250): # list of files
    folder.mkdir(parents=True)
    for n in range(shards):
        imgs, captions = SceneCaptions(batch=each, size=96, seed=7)[n]
        samples = {}
        for i, (img, caption) in enumerate(zip(imgs, captions)):
            sample = dict(jpg=jpeg_bytes(img), txt=caption.encode())
            if i % 20 == 7:
                sample.update(BROKEN[i//20 % len(BROKEN)])
            if i % 200 == 107:
                sample['jpg'] = jpeg_bytes(img)[:500]
            samples[f'{n}-{i:04d}'] = {k: v for k, v in sample.items() if v is not None}
        write_shard(folder/f'{n}.tar', samples)
    return str(folder/'*.tar')

def command(data, out, steps): # list of words
    return [Path(sys.executable).parent/'mgca_train', '--data', data, '--out', out, '--steps', str(steps), '--batch', '32',
            '--device', 'cpu', '--resume', '--save-every', '50',
            '--set', 'cached_features=0', 'workers=1', 'shuffle=200', 'ema=.99']

def children(pid): # its descendants
    kids = Path(f'/proc/{pid}/task/{pid}/children')
    found = [int(k) for k in kids.read_text().split()] if kids.exists() else []
    return found + [g for k in found for g in children(k)]

def memory(pid): # bytes of a process and its descendants, shared pages once
    total = 0
    for p in [pid, *children(pid)]:
        try:
            lines = Path(f'/proc/{p}/smaps_rollup').read_text().splitlines()
            total += sum(1024*int(line.split()[1]) for line in lines if line.startswith('Pss:'))
        except OSError:  # it has just ended
            pass
    return total

def watch(process, rows): # None; adds (seconds, bytes) to `rows` until the process ends
    t0 = time.time()
    while process.poll() is None:
        rows.append((round(time.time() - t0), memory(process.pid)))
        time.sleep(5)

def by_minute(rows, first): # rows of (seconds, bytes), seconds to leave out -> mean bytes of each later minute
    minutes = {}
    for t, m in rows:
        if t >= first:
            minutes.setdefault(t//60, []).append(m)
    return [float(np.mean(m)) for m in minutes.values()]

def step_of(out): # steps done
    log = out/'log.jsonl'
    return len(log.read_text().splitlines()) if log.exists() else 0

def full_disk(): # in a child: no file may grow beyond 300 kB
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

def hurt(kind, process): # None
    signals = {'SIGKILL': signal.SIGKILL, 'SIGTERM': signal.SIGTERM, 'Ctrl-C': signal.SIGINT}
    loaders = children(process.pid)
    if kind == 'loader killed' and loaders:
        os.kill(random.choice(loaders), signal.SIGKILL)
    elif kind in signals:
        process.send_signal(signals[kind])

def disturbed(data, out, steps, pause): # list of events
    events, done = [], False
    kinds = ['SIGTERM', 'disk full', 'SIGKILL', 'loader killed', 'SIGKILL', 'disk full', 'Ctrl-C', 'SIGKILL', 'SIGTERM']
    for n in range(1000):
        kind = kinds[n] if n < len(kinds) else random.choice(['SIGKILL', 'SIGTERM'])
        t0, since = time.time(), step_of(out)
        p = subprocess.Popen(command(data, out, steps), env=ENV, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             preexec_fn=full_disk if kind == 'disk full' else None)
        try:
            p.wait(random.uniform(*pause))
        except subprocess.TimeoutExpired:
            hurt(kind, p)
            done = False
        _, told = p.communicate(timeout=300)
        done = p.returncode == 0
        lines = [line for line in told.replace('\r', '\n').splitlines() if line and '%|' not in line]
        events.append(dict(kind='end' if done else kind, seconds=round(time.time() - t0), steps=[since, step_of(out)], code=p.returncode,
                           told=lines[-1:]))
        print(events[-1], flush=True)
        if done:
            return events

def soak(minutes, steps, folder): # None
    folder.mkdir(parents=True)
    data, rows = make_shards(folder/'shards'), []
    if not steps:
        t0 = time.time()
        subprocess.run(command(data, folder/'try', 60), env=ENV, check=True, capture_output=True)
        steps = max(200, int(60*minutes*60/(time.time() - t0)))
    print(f'{steps} steps', flush=True)
    whole = subprocess.Popen(command(data, folder/'whole', steps), env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    threading.Thread(target=watch, args=(whole, rows), daemon=True).start()
    t0, pause = time.time(), (30*minutes/60, 400*minutes/60)
    events = disturbed(data, folder/'hurt', steps, pause)
    hurt_for = time.time() - t0
    assert whole.wait() == 0
    a, b = folder/'whole', folder/'hurt'
    losses = [[json.loads(line)['loss'] for line in (f/'log.jsonl').read_text().splitlines()] for f in (a, b)]
    late = by_minute(rows, min(600, 10*minutes))
    cards = [json.loads((f/'run.json').read_text()) for f in (a, b)]
    report = dict(steps=steps, minutes=round(hurt_for/60, 1), whole_minutes=round(rows[-1][0]/60, 1), events=events,
                  same_losses=losses[0] == losses[1], samples=cards[0]['samples'], same_counts=cards[0]['samples'] == cards[1]['samples'],
                  same_weights=(a/'last/model.safetensors').read_bytes() == (b/'last/model.safetensors').read_bytes(),
                  memory_mib=[round(m/2**20) for m in late],
                  finite=bool(np.isfinite(losses[1]).all()))
    write_json(folder/'soak.json', report)
    print(json.dumps({k: v for k, v in report.items() if k != 'events'}, indent=1))
    assert report['same_losses'] and report['same_weights'] and report['same_counts'], 'the two runs differ'
    assert max(late) <= 1.05*late[0], 'memory grows'

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--minutes', type=float, default=60)
    p.add_argument('--steps', type=int, default=0, help='how many; as many as fit into the minutes when 0')
    p.add_argument('--out', default='soak')
    a = p.parse_args()
    soak(a.minutes, a.steps, Path(a.out))
