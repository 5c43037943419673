"""Peak memory and time of the losses at CC3M scale, forward and backward.

    python .ci/loss_memory.py [--images 256 --side 56 --dim 512 --texts 256 --chunk 8] [--device cpu]

Memory is counted above the inputs (embeddings, texts); the gradient of the embeddings is part of it.
The comparison in time is made at a size where the batch at once fits (--side 28, fewer images).
"""
import argparse, json, resource, subprocess, sys, time
import torch
from mgca.systems.objective import objective_loss
from mgca.apps.speed import loss_inputs
from mgca.systems.model import TrainConfig

def once(a, images, chunk, repeats):
    device = torch.device(a.device)
    inputs, cfg, seconds = loss_inputs(images, a.side, a.dim, a.texts, device), TrainConfig(chunk=chunk), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()/2**30
    for _ in range(repeats):
        inputs[0].grad, t = None, time.time()
        objective_loss(*inputs, cfg)[0].backward()
        if device.type == 'cuda':
            torch.cuda.synchronize()
        seconds.append(time.time() - t)
    peak = torch.cuda.max_memory_allocated()/2**30 if device.type == 'cuda' else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20
    return dict(images=images, chunk=chunk, gib_above_inputs=round(peak - before, 2), seconds=round(sorted(seconds)[len(seconds)//2], 2))

if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(images=256, side=56, dim=512, texts=256, chunk=8, small=32, repeats=3).items():
        p.add_argument(f'--{name}', type=int, default=value)
    p.add_argument('--device', default='cpu')
    p.add_argument('--one', default='')
    a = p.parse_args()
    if a.one:
        print(json.dumps(once(a, *json.loads(a.one))))
        sys.exit()
    for case in ((a.images, a.chunk, 1), (a.small, a.chunk, a.repeats), (a.small, 0, a.repeats)):  # a process each: peak memory never falls
        print(subprocess.run([sys.executable, __file__, *sys.argv[1:], '--one', json.dumps(case)], check=True, text=True, stdout=subprocess.PIPE).stdout.strip(), flush=True)
