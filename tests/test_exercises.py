"Answers to exercises of the main path, computed: what a reader is told must come out."
import json, math, re
from pathlib import Path
from types import SimpleNamespace
import matplotlib.pyplot as plt
import numpy as np
import pytest, torch
import torch.nn.functional as F
from mgca.apps.timing import operations
from mgca.core.base import UserError, set_seed
from mgca.core.processes import Processes
from mgca.data.scenes import SceneBenchmark, SceneCaptions
from mgca.encoders.clip import encode_dense, encode_image
from mgca.encoders.prompts import encode_sentences, encode_text
from mgca.encoders.towers import load_encoder
from mgca.method.correspondence import own_share, pseudo_regions, similarity, spoken_of
from mgca.method.decoder import GroundingDecoder, frozen_features
from mgca.method.fine_levels import fine_labels
from mgca.method.losses import contrast, image_rows, masked_pool, row_loss
from mgca.segment.segmenter import Segmenter
from mgca.systems.registry import build, configure
from mgca.systems.saved import load_model
from mgca.systems.system import Batch

plt.switch_backend('agg')
NBS = Path(__file__).resolve().parent.parent/'nbs'

@pytest.fixture(scope='module')
def tiny(): return load_encoder('tiny')

def text_of(notebook): # all markdown
    cells = json.loads((NBS/f'{notebook}.ipynb').read_text())['cells']
    return '\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')

def told(notebook, pattern): # the numbers that stand in an answer
    found = re.search(pattern, text_of(notebook))
    assert found, f'{notebook} no longer says {pattern!r}'
    return [float(n) for n in found.groups()]

def test_hour_1_extreme_scales(tiny):
    "method in an hour, 1: the quiz with scale 0 and 100"
    imgs, captions = SceneCaptions(batch=4, seed=3)[0]
    cosines = encode_image(tiny, imgs/255) @ F.normalize(encode_sentences(tiny, captions), dim=-1).T
    guess, = told('00_method_in_an_hour', r'With 0 all captions are equally likely, log 4 = (\d+\.\d+)')
    loss = {scale: row_loss(cosines, torch.eye(4).bool(), scale=scale).item() for scale in (0., 100.)}
    assert abs(loss[0.] - math.log(4)) < 1e-6 and abs(guess - math.log(4)) < 5e-4
    assert loss[100.] < .01
    assert (cosines.argmax(1) == torch.arange(4)).all() and (cosines.argmax(0) == torch.arange(4)).all()  # right on all eight

def test_decoder_1_open_gates(tiny):
    "method/00, 1: a fresh decoder's convolutions hardly move a pixel's best word"
    share, = told('method/00_decoder', r'Hardly any: 0 to (\d+) in 100')
    long, added = told('method/00_decoder', r'that enter are some (\d+) long, what a fresh convolution adds is about ([\d.]+):')
    set_seed(0)
    names = SceneBenchmark(1).class_names
    words, decoder = encode_text(tiny, names), GroundingDecoder(tiny)
    x = torch.from_numpy(np.stack([img for _, img, _ in SceneBenchmark(8)])).permute(0, 3, 1, 2)/255
    feats = frozen_features(tiny, x)
    def best():
        return torch.einsum('bdhw,cd->bchw', F.normalize(decoder(feats), dim=1), words).argmax(1)
    with torch.no_grad():
        closed = best()
        for name, p in decoder.named_parameters():
            if name.endswith('gate'):
                p.fill_(3.)
        moved = 100*(best() != closed).float().mean().item()
        u = decoder.ends.enter(feats)
        lengths = u.norm(dim=1).mean().item(), decoder.layers[0].convs[0](u).norm(dim=1).mean().item()
    assert moved <= share + .5
    assert abs(lengths[0]/long - 1) < .15 and abs(lengths[1]/added - 1) < .3

def test_decoder_2_multiplications(tiny):
    "method/00, 2: what enlarging twice costs"
    once, twice = told('method/00_decoder', r'24 x 24 places make ([\d.]+) G; adding 48 x 48 places makes ([\d.]+) G')
    feats = torch.randn(1, 160, 12, 12)
    def layers(scales):
        decoder = GroundingDecoder(tiny, scales)
        u = decoder.ends.enter(feats).detach()
        return operations(lambda: decoder.layers(u))/2e9  # an operation is half a multiplication and addition
    assert abs(layers((2,)) - once) < .01 and abs(layers((2, 2)) - twice) < .01

def test_correspondence_1_permuted():
    "method/01, 1: regions belong to one image each"
    emb, perm = torch.randn(4, 16, 6, 6), torch.tensor([2, 0, 3, 1])
    assert torch.allclose(pseudo_regions(emb[perm], 6), pseudo_regions(emb, 6)[perm], atol=1e-5)

def test_correspondence_2_temperature(tiny):
    "method/01, 2: more places are claimed at a lower temperature, and no more of the claims are right"
    said = r'(\d+) % of the places are claimed at 0.05, (\d+) % at 0.01, and (\d+) % of the claims'
    usual, low, right = told('method/01_correspondence', said)
    held_out = SceneBenchmark(60, seed=5)
    imgs, truth = (torch.from_numpy(np.stack(x)) for x in list(zip(*held_out))[1:])
    truth = truth[:, 2::4, 2::4].flatten(1).long()
    emb = F.interpolate(encode_dense(tiny, imgs.permute(0, 3, 1, 2)/255), scale_factor=2, mode='bilinear')
    sim = similarity(emb, encode_text(tiny, held_out.class_names))
    named = torch.zeros(60, 244).scatter(1, truth, 1.).bool()
    for tau, told_share in ((.05, usual), (.01, low)):
        share, best = own_share(sim, named, tau).max(1)
        claimed = share >= .6
        assert abs(100*claimed.float().mean().item() - told_share) <= 1
        assert abs(100*(best == truth)[claimed].float().mean().item() - right) <= 1

def test_fine_1_higher_threshold():
    "method/03, 1: fewer regions are claimed, and as many negatives stay"
    strict, usual = told('method/03_fine_levels', r'(\d+) regions are claimed instead of (\d+)')
    cells = json.loads((NBS/'method/03_fine_levels.ipynb').read_text())['cells']
    space = {}
    exec(next(''.join(c['source']) for c in cells if 'known = fine_labels(' in ''.join(c['source'])), space)  # the first picture
    found = {}
    for rho in (.6, .9):
        cfg = SimpleNamespace(**dict(vars(space['cfg']), rho_pos=rho))
        args = (space[k].detach() for k in ('emb', 'text_emb', 'sim', 'share', 'pos', 'false_neg'))
        label, not_absent, _ = fine_labels(*args, cfg)['regions']
        found[rho] = (label >= 0).sum().item(), not_absent.sum().item()
    assert (found[.9][0], found[.6][0]) == (strict, usual)
    assert found[.9][1] == found[.6][1]

def test_correspondence_3_no_stranger():
    "method/01, 3: without a stranger every place is spoken of, and none of an image without texts"
    sim, nobody = torch.randn(3, 2, 10), torch.zeros(3, 2, dtype=torch.bool)
    pos = torch.ones(3, 2, dtype=torch.bool)
    assert spoken_of(sim, pos, nobody).all()
    pos[2] = False
    assert spoken_of(sim, pos, nobody).any(1).tolist() == [True, True, False]

def test_losses_1_and_2():
    "method/02: differences count, scale matters, positives do not compete"
    sim, pos = torch.randn(6, 9), F.one_hot(torch.arange(6), 9).bool()
    assert torch.allclose(contrast(sim + .3, pos, 3.), contrast(sim, pos, 3.), atol=1e-5)
    assert torch.allclose(contrast(2*sim, pos, 3.), contrast(sim, pos, 6.), atol=1e-5)
    assert not torch.allclose(contrast(2*sim, pos, 3.), contrast(sim, pos, 3.), atol=1e-2)
    assert torch.allclose(contrast(sim, pos, 3.), F.cross_entropy(3*sim, torch.arange(6)), atol=1e-5)
    two, raised = pos.clone(), sim.clone().requires_grad_()
    two[:, 8] = True
    contrast(raised, two, 3.).backward()
    assert (raised.grad[two] < 0).all() and (raised.grad[~two] > 0).all()  # each of the positives may rise

def test_losses_3_masks_of_ones():
    "method/02, 3: with one mask for all texts nothing depends on where a text looks"
    emb, text = torch.randn(3, 8, 4, 4), F.normalize(torch.randn(5, 8), dim=-1)
    pooled = F.normalize(masked_pool(emb, torch.ones(3, 5, 16)), dim=-1)
    assert torch.allclose(pooled, pooled[:, :1].expand_as(pooled), atol=1e-6)
    assert torch.allclose(torch.einsum('bud,ud->bu', pooled, text), image_rows(emb, text), atol=1e-5)

def prepared(order): # the default system, and a batch of eight scenes in that order
    imgs, said = SceneCaptions(batch=8, seed=2)[0]
    system = build(configure(hard='hard', precision='fp32'))
    reader = system.reader(SceneCaptions(batch=500, seed=1)[0][1])
    x = system.frozen(imgs/255)
    batch = system.prepare(Batch(x, [reader(s) for s in said]), Processes())
    batch.x, batch.pos = batch.x[order], batch.pos[order]
    batch.more['false_neg'] = batch.more['false_neg'][order]
    return system, batch

def losses_of(order):
    set_seed(0)
    system, batch = prepared(order)
    system.stage(1.)
    return {k: v.item() for k, v in system.loss(system(batch), batch, 1., Processes()).items()}

def test_mgca_1_permuted():
    "systems/04, 1: the order of images means nothing"
    one, other = losses_of(torch.arange(8)), losses_of(torch.tensor([3, 1, 7, 0, 2, 6, 5, 4]))
    assert set(one) == set(other) and any(one.values())
    assert all(abs(one[k] - other[k]) < 1e-4*max(1, abs(one[k])) for k in one), (one, other)

def test_segmenter_2_and_3():
    "segment/05: a giraffe that is alone gets everything; lite has no knowledge to preserve"
    pytest.importorskip('efficientnet_lite_pytorch')
    data = pytest.importorskip('skimage.data')
    rocket, lite = data.rocket(), load_model('lite')
    names = ['rocket', 'sky', 'tower', 'giraffe']
    assert (Segmenter(lite, names)(rocket).labels == 3).mean() == 0
    assert (Segmenter(lite, ['giraffe'])(rocket).labels == 0).all()
    assert (Segmenter(lite, ['giraffe'], background=['sky', 'tower'])(rocket).labels == 0).mean() < .01
    with pytest.raises(UserError, match='training-free'):
        Segmenter(lite, names, kp=.3)
