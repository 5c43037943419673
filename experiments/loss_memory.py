"""Peak memory and time of the losses at CC3M scale, forward and backward.

    python experiments/loss_memory.py [--images 256 --side 56 --dim 512 --texts 256 --chunk 8] [--device cpu]

Memory is counted above the inputs (embeddings, texts); the gradient of the embeddings is part of it.
`--chunk` images make a piece of the batch, whose rows `torch.utils.checkpoint` computes twice.
The comparison in time is made at a size where the batch at once fits (--side 28, fewer images).
"""
import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from mgca.apps.speed import all_levels, made_up_batch

def peak(device): # torch.device -> GiB, the most so far
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated()/2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20

def once(a, images, chunk, repeats): # arguments, batch size, images a piece (0 for all), steps -> dict
    device, seconds = torch.device(a.device), []
    step = made_up_batch(images, a.side, a.dim, a.texts, device, chunk)
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    before = peak(device)
    for _ in range(repeats):
        t = time.time()
        all_levels(*step)
        if device.type == 'cuda':
            torch.cuda.synchronize()
        seconds.append(time.time() - t)
    return dict(images=images, chunk=chunk, gib_above_inputs=round(peak(device) - before, 2),
                seconds=round(sorted(seconds)[len(seconds)//2], 2))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(images=256, side=56, dim=512, texts=256, chunk=8, small=32, repeats=3).items():
        p.add_argument(f'--{name}', type=int, default=value)
    p.add_argument('--device', default='cpu')
    p.add_argument('--one', default='', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.one:
        print(json.dumps(once(a, *json.loads(a.one))))
        sys.exit()
    cases = (a.images, a.chunk, 1), (a.small, a.chunk, a.repeats), (a.small, 0, a.repeats)
    for case in cases:  # a process each: peak memory never falls
        told = subprocess.run([sys.executable, __file__, *sys.argv[1:], '--one', json.dumps(case)], check=True, text=True,
                              stdout=subprocess.PIPE)
        print(told.stdout.strip(), flush=True)
