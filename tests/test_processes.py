"A step across processes equals one process on the joined batch, whatever the system, with pieces too."
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F

from mgca.core.processes import Processes, processes
from mgca.method.losses import LogitScales, masked_image_loss
from mgca.systems.registry import SYSTEMS, build, configure
from mgca.systems.system import Batch
from mgca.train.source import looks_at_images
from mgca.train.step import Step

torch.set_num_threads(1)  # children are forked, which OpenMP only survives with one thread
B, WORDS = 8, 'fox snow owl grass road pizza sky lion boat car dog cat'.split()

@torch.no_grad()
def grow(system):
    for p in system.parameters():
        if p.requires_grad and p.ndim > 1:
            p.mul_(.2/p.std())

def pieces_of(name): # numbers of pieces a batch of that system can be computed in
    return (1,) if getattr(SYSTEMS[name].cls, 'whole_batch', False) else (1, 2)

def problem(name, pieces):
    "A system, and eight images with texts; the first image names one thing, so that processes hold different numbers of rows"
    g = torch.Generator().manual_seed(0)
    known = dict(hard='hard', regions=4, rho_pos=.4, k_n=3, k_pos=2, k_pix=5, balance=.7, embed=32, heads=2, depths=(1, 1, 1),
                 group_tokens=(6, 4, 0), groups=(6, 4), patch=8, image_size=40, hidden=16, proto_hidden=16, text_protos=4,
                 out=16, text_width=16, text_heads=1, text_layers=1, nouns=2, drop_path=.3)
    fields = vars(SYSTEMS[name].cls.Config())
    if fields.get('supervision') == 'none':  # masks must be asked for, and nothing else teaches it
        known['supervision'] = 'masks'
    torch.manual_seed(1)
    system = build(configure(system=name, microbatches=pieces, precision='fp32', **{k: v for k, v in known.items() if k in fields}))
    if looks_at_images(system):  # fresh weights of .02 would have norms behind them blow rounding up
        grow(system)
    if looks_at_images(system):
        x = torch.rand(B, 3, 40, 40, generator=g)
    else:  # features, of as many channels as the system keeps
        kept = system.frozen(torch.zeros(1, 3, 5*system.stride, 5*system.stride))
        x = torch.randn(B, *kept.shape[1:], generator=g)
    texts = [[w for w in WORDS if torch.rand((), generator=g) < .25] or ['fox'] for _ in range(B)]
    side = 5*system.stride
    imgs = torch.randint(256, (B, 3, side, side), dtype=torch.uint8, generator=g) if 'imgs' in system.needs else None
    masks = torch.randint(len(WORDS), (B, side, side), dtype=torch.uint8, generator=g) if 'masks' in system.needs else None
    return system, x, [['owl'], *texts[1:]], imgs, masks

def gradients(name, mine, pieces, gather): # losses, dict of gradients
    system, x, texts, imgs, masks = problem(name, pieces)
    torch.manual_seed(2 + gather.rank)  # the first process decides what all draw
    labels = {} if masks is None else dict(masks=masks[mine], class_names=list(WORDS))
    batch = system.prepare(Batch(x[mine], texts[mine], None if imgs is None else imgs[mine], **labels), gather)
    losses, _ = Step(system)(batch, 1., gather)
    sum(losses.values()).backward()
    return {k: v.item() for k, v in losses.items()}, {n: p.grad for n, p in system.named_parameters() if p.grad is not None}

def masked(mine, gather): # the masked-image loss with masks of ones, where the second half of the images names nothing
    g = torch.Generator().manual_seed(0)
    feats, text = torch.randn(B, 6, 5, 5, generator=g), F.normalize(torch.randn(12, 6, generator=g), dim=-1)
    pos, scales = torch.rand(B, 12, generator=g) < .2, LogitScales(('masked',))
    with torch.no_grad():
        scales.mask_bias.fill_(100.)
    pos[B//2:] = False
    def look(x): return F.normalize(x.mean((2, 3)) @ torch.linspace(-1, 1, 18).view(3, 6).sin(), dim=-1)
    loss = masked_image_loss(look, feats[mine, :3].sigmoid(), torch.zeros(3, 1, 1), feats[mine], text, pos[mine], scales, .9, gather)
    loss.backward()
    return loss.item(), scales.log_scale.grad

def work(rank, world, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=world)
    gather, mine, results = processes(), slice(rank*B//world, (rank + 1)*B//world), {}
    for name in SYSTEMS:
        for pieces in pieces_of(name):
            losses, grads = gradients(name, mine, pieces, gather)
            for g in grads.values():
                dist.all_reduce(g)  # what data-parallel training does
                g /= world
            results[f'{name} {pieces}'] = losses, grads
    loss, grad = masked(mine, gather)
    dist.all_reduce(grad)
    results['masked'] = loss, grad/world
    if rank == 0:
        torch.save(results, f'{folder}/results.pt')
    dist.destroy_process_group()

@pytest.mark.parametrize('world', [2, 4])
def test_processes_equal_one(tmp_path, world):
    mp.start_processes(work, (world, str(tmp_path)), nprocs=world, start_method='fork')
    several = torch.load(tmp_path/'results.pt', weights_only=True)
    loss, grad = masked(slice(0, B), Processes())
    assert abs(several['masked'][0] - loss) < 1e-5 and loss > 0
    torch.testing.assert_close(several['masked'][1], grad, atol=1e-5, rtol=1e-4)
    for name in SYSTEMS:
        losses, grads = gradients(name, slice(0, B), 1, Processes())
        for pieces in pieces_of(name):
            theirs, found = several[f'{name} {pieces}']
            assert set(theirs) == set(losses)
            for k, v in losses.items():
                assert abs(theirs[k] - v) < 1e-5, (name, pieces, k)
            assert set(grads) == set(found)
            for n, g in grads.items():
                torch.testing.assert_close(found[n], g, atol=1e-5, rtol=1e-3, msg=lambda m, n=n, name=name: f'{name} {n}: {m}')
