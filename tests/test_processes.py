"The losses across processes equal those of one process on the joined batch."
import pytest, torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F
from mgca.method.losses import LogitScales, masked_image_loss, one_process
from mgca.core.processes import gather_rows
from mgca.systems.objective import objective_loss
from mgca.systems.model import TrainConfig

B, D, H, U = 8, 6, 5, 12
OBJECTIVES = 'image', 'tcl', 'mgca'

def problem(objective):
    g = torch.Generator().manual_seed(0)
    feats, text = torch.randn(B, D, H, H, generator=g), F.normalize(torch.randn(U, D, generator=g), dim=-1)
    own = torch.rand(B, U, generator=g) < .2
    own[:, 0] |= ~own.any(1)
    own[0] = False
    own[0, 3] = True  # processes then hold different numbers of rows
    cfg = TrainConfig(objective=objective, hard='hard', regions=4, rho_pos=.4, k_n=3, k_reg=1, k_pos=2, k_pix=5, chunk=0 if objective == 'tcl' else 1)
    torch.manual_seed(1)
    return feats, text, own, cfg, nn.Conv2d(D, D, 1), LogitScales()

def masked(mine, join): # the masked-image loss with masks of ones, where the second half of the images names nothing
    feats, text, own, _, layer, temps = problem('mgca')
    with torch.no_grad():
        temps.mask_bias.fill_(100.)
    own[B//2:] = False
    def look(x):
        return F.normalize(x.mean((2, 3)) @ torch.linspace(-1, 1, 3*D).view(3, D).sin(), dim=-1)
    loss = masked_image_loss(look, feats[mine, :3].sigmoid(), torch.zeros(3, 1, 1), layer(feats[mine]), text, own[mine], temps, join=join)
    loss.backward()
    return loss.item(), temps.log_scale.grad

def gradients(*modules):
    return {f'{i}.{n}': p.grad for i, m in enumerate(modules) for n, p in m.named_parameters() if p.grad is not None}

def work(rank, world, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=world)
    mine, results = slice(rank*B//world, (rank + 1)*B//world), {}
    for objective in OBJECTIVES:
        feats, text, own, cfg, layer, temps = problem(objective)
        loss, _ = objective_loss(layer(feats[mine]), text, own[mine], temps, cfg, join=gather_rows)
        loss.backward()
        results[objective] = dict(loss=loss.item(), grads=gradients(layer, temps))
        for g in results[objective]['grads'].values():
            dist.all_reduce(g)
            g /= world  # what data-parallel training does
    results['masked'] = masked(mine, gather_rows)
    dist.all_reduce(results['masked'][1])
    if rank == 0:
        torch.save(results, f'{folder}/results.pt')
    dist.destroy_process_group()

@pytest.mark.parametrize('world', [2, 4])
def test_processes_equal_one(tmp_path, world):
    mp.spawn(work, (world, str(tmp_path)), nprocs=world)
    several = torch.load(tmp_path/'results.pt', weights_only=True)
    loss, grad = masked(slice(0, B), one_process)
    assert abs(several['masked'][0] - loss) < 1e-5 and loss > 0
    torch.testing.assert_close(several['masked'][1]/world, grad, atol=1e-5, rtol=1e-4)
    for objective in OBJECTIVES:
        feats, text, own, cfg, layer, temps = problem(objective)
        loss, _ = objective_loss(layer(feats), text, own, temps, cfg)
        loss.backward()
        assert abs(several[objective]['loss'] - loss.item()) < 1e-5, objective
        grads = gradients(layer, temps)
        assert set(grads) == set(several[objective]['grads'])
        for n, g in grads.items():
            torch.testing.assert_close(several[objective]['grads'][n], g, atol=1e-5, rtol=1e-4)
