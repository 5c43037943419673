"""Numbers of released code, met by what reads its checkpoints.

Golden files lie in the folder that MGCA_GOLDEN names, or in shared/spec/golden beside the repository; without them the
tests are skipped. Each holds names and shapes of a released state dict, formulas for weights and an image, and numbers
that the released code made of them.
"""
import json
import math
import os
import re
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mgca.core.base import UserError
from mgca.core.processes import Processes
from mgca.encoders.clip import encode_dense
from mgca.eval.protocols import PROTOCOLS, ProtocolSegmenter
from mgca.method.correspondence import gumbel_objects, sigmoid_objects, similarity
from mgca.segment.refine import pamr
from mgca.systems.cost_decoder import CostDecoder, DecoderSizes
from mgca.systems.cost_volume import PixelToText, TextToPixel, global_cost
from mgca.systems.group_encoder import GroupEncoder
from mgca.systems.group_texts import info_nce, multi_label
from mgca.systems.grouping import Chance
from mgca.systems.prototypes import matched, pair_loss, pair_rows
from mgca.systems.registry import build, configure
from mgca.systems.saved import load_model, save_model
from mgca.systems.system import Batch
from mgca.train.loop import train

FOLDER = Path(os.environ.get('MGCA_GOLDEN', Path(__file__).resolve().parents[2]/'shared/spec/golden'))
FILES = sorted(FOLDER.glob('tcl*.json')) if FOLDER.is_dir() else []
GROUPS = sorted(p for name in ('groupvit', 'pgseg') for p in FOLDER.glob(f'{name}*.json')) if FOLDER.is_dir() else []
COSTS = sorted(FOLDER.glob('fgaseg*.json')) if FOLDER.is_dir() else []
torch.set_num_threads(1)
alone = Processes()

def formula(name, shape, scalars): # the tensor of that name
    if not shape:
        return torch.tensor(scalars.get(name, .5 if name.endswith('gate') else 0.)) if 'tracked' not in name else torch.tensor(0)
    n = math.prod(shape)
    w = np.sin(.7*(np.arange(n) % 10007) + sum(name.encode()) % 997)
    if 'running_var' in name or len(shape) == 1 and name.endswith('weight'):
        w = 1 + .1*w
    elif len(shape) == 1:
        w = .1*w
    elif re.search('embedding|pos_embed|group_token', name):
        w = .3*w
    elif name.endswith('mu'):
        w = w.reshape(shape)/np.linalg.norm(w.reshape(shape), axis=-1, keepdims=True)
    else:
        w = w*math.sqrt(2/(n/shape[0]))
    return torch.from_numpy(w.reshape(shape)).float()

def formula_image(n, size): # (n,3,size,size) in [0,1]
    b, c, y, x = np.ogrid[:n, :3, :size, :size]
    return torch.from_numpy(.5 + .5*np.sin(.05*(x + 1)*(c + 1) + .03*y + 1.3*b)).float()

def write_checkpoint(told, path): # as the repository does, with a configuration whose class is gone afterwards
    module = types.ModuleType('nowhere_to_be_found')
    exec('class Config(dict):\n    pass', module.__dict__)
    sys.modules[module.__name__] = module
    try:
        config = module.Config(model='TCL')
        config.told = 'secrets'
        weights = {k: formula(k, shape, told['scalars']) for k, shape in told['state_dict'].items()}
        held = dict(model=weights, optimizer=dict(state={0: torch.ones(2)}), scaler=dict(scale=65536.), config=config, step=50_000)
        torch.save(held, path)
    finally:
        del sys.modules[module.__name__]
    return path

@pytest.fixture(scope='module', params=FILES or [None], ids=lambda p: p.stem if p else 'none')
def case(request, tmp_path_factory): # golden numbers, the system, its checkpoint, the batch that they are about
    if request.param is None:
        pytest.skip('no golden files; MGCA_GOLDEN names their folder')
    told = json.loads(request.param.read_text())
    path = write_checkpoint(told, tmp_path_factory.mktemp('golden')/'tcl.pth')
    with pytest.raises(ModuleNotFoundError):
        torch.load(path, weights_only=False)
    system = load_model(f'tcl:{path}')
    tokens = torch.tensor(told['about']['tokens'])
    tokens = F.pad(tokens, (0, system.enc.model.context_length - tokens.shape[1]))
    x, n = formula_image(len(tokens), system.image_size), len(tokens)
    with torch.no_grad():
        raw = system.enc.model.encode_text(tokens)
        emb = system.pixel_embeddings(x)
    batch = Batch(system.frozen(x), [['']]*n, x*255, F.normalize(raw, dim=-1), torch.eye(n) > 0)
    batch.more['noise'] = torch.full((n, emb.shape[-2]*emb.shape[-1]), .5)  # a hard mask is soft > .5
    return told['numbers'], system, path, batch, raw, emb

def meets(found, golden, name): # 2e-4 relative, and what float32 cannot do better
    golden = torch.as_tensor(golden).double().flatten()
    found = torch.as_tensor(found).double().flatten()[:len(golden)]
    torch.testing.assert_close(found, golden, rtol=2e-4, atol=2e-6, msg=lambda m: f'{name}: {m}')

def meets_somewhere(found, golden, name): # (P,K) candidates, of which the file does not say which
    golden = torch.as_tensor(golden)
    best = (found[:, :len(golden)] - golden).abs().amax(1).argmin()
    meets(found[best], golden, name)

def test_every_number_is_known(case):
    known = {'text_emb', 'pixel_emb_0', 'pixel_emb_shape', 'soft_mask_0_1', 'soft_mask_mean', 'hard_mask_sum', 'area_loss',
             'neg_area_loss', 'tclf_loss', 'tv_img_loss', 'tv_mask_loss', 'tcli_loss', 'pamr_0_1_row8', 'pamr_mean',
             'inference_no_post_row20', 'inference_pamr_kp_row20'}
    assert set(case[0]) <= known

def test_embeddings_and_masks(case):
    numbers, system, _, batch, raw, emb = case
    meets(raw, numbers['text_emb'], 'text_emb')
    assert list(emb.shape) == numbers['pixel_emb_shape']
    meets_somewhere(emb[0].flatten(1).T, numbers['pixel_emb_0'], 'pixel_emb_0')
    scales, sim = (system.logit_scales.mask_scale, system.logit_scales.mask_bias), similarity(emb, batch.text_emb)
    with torch.no_grad():
        soft, hard = sigmoid_objects(sim, *scales), gumbel_objects(sim[batch.pos], *scales, batch.more['noise'])
    meets_somewhere(soft[0, 1].unflatten(-1, emb.shape[-2:]), numbers['soft_mask_0_1'], 'soft_mask_0_1')
    meets(soft.mean(-1), numbers['soft_mask_mean'], 'soft_mask_mean')
    meets(hard.sum(-1), numbers['hard_mask_sum'], 'hard_mask_sum')

@pytest.mark.parametrize('pieces', [1, 2])
def test_losses(case, pieces):
    numbers, system, _, batch, _, _ = case
    parts = [system(p) for p in batch.split(pieces)]
    losses = system.loss({k: torch.cat([p[k] for p in parts]) for k in parts[0]}, batch, 1., alone)
    theirs = dict(tcl_v='tcli_loss', tcl_f='tclf_loss', area='area_loss', area_neg='neg_area_loss', tv_emb='tv_img_loss',
                  tv_mask='tv_mask_loss')
    assert set(losses) == set(theirs)
    for name, v in losses.items():
        meets(v.detach(), numbers[theirs[name]], name)

def test_refinement_and_prior(case):
    "Step by step: PAMR at the size of the masks, then the mix with frozen CLIP's masks, then the enlargement"
    numbers, system, _, batch, _, emb = case
    x = batch.imgs/255
    with torch.no_grad():
        soft = system.scores(x, batch.text_emb, 'pixel')[0]
        fine = pamr(F.interpolate(x, soft.shape[-2:], mode='bilinear', align_corners=True), soft)
        prior = F.interpolate(system.prior_scores(x, batch.text_emb), soft.shape[-2:], mode='bilinear')
        mixed = F.interpolate(.3*prior + .7*fine, x.shape[-2:], mode='bilinear')
        plain = F.interpolate(soft, x.shape[-2:], mode='bilinear')
    meets(fine[0, 1, 8], numbers['pamr_0_1_row8'], 'pamr_0_1_row8')
    meets(fine[0].mean((1, 2)), numbers['pamr_mean'], 'pamr_mean')
    meets(plain[0, 1, 20], numbers['inference_no_post_row20'], 'inference_no_post_row20')
    meets(mixed[0, 1, 20], numbers['inference_pamr_kp_row20'], 'inference_pamr_kp_row20')

def test_protocol(case):
    "The segmenter of protocol tcl448 takes the same steps in the same order"
    numbers, system, _, batch, _, emb = case
    if 4*emb.shape[-1] < system.image_size:
        pytest.skip('masks coarser than a quarter of the image are enlarged before PAMR here')
    for refine, kp, name in (('none', 0., 'inference_no_post_row20'), ('pamr', .3, 'inference_pamr_kp_row20')):
        rules = replace(PROTOCOLS['tcl448'], kp=kp)
        seg = ProtocolSegmenter(system, ['a', 'b', 'c'], rules, 'tcl', unit='pixel', refine=refine)
        seg.text = batch.text_emb
        assert seg.threshold == (.4 if refine == 'pamr' else .5)
        scores = seg.window_scores(batch.imgs[:1]/255)[0]
        assert scores.shape[-2:] == batch.imgs.shape[-2:]
        meets(scores[1, 20], numbers[name], name)

def test_before_training(case):
    "With its gates closed, and the block, norm and projection it was copied from, the decoder enlarges MaskCLIP and does nothing else"
    _, system, path, batch, _, _ = case
    fresh = type(system)(system.cfg, system.enc)
    x = batch.imgs/255
    with torch.no_grad():
        want = F.interpolate(encode_dense(system.enc, x), fresh.pixel_embeddings(x).shape[-2:], mode='nearest')
        torch.testing.assert_close(fresh.pixel_embeddings(x), want, rtol=1e-5, atol=1e-6)

def test_goes_on_and_is_saved(case, tmp_path):
    _, system, path, _, _, _ = case
    cfg = configure(['batch=4', 'steps=2', 'microbatches=2', 'warmup=0', 'cached_features=0'], model=f'tcl:{path}')
    assert (cfg.system, cfg.normalise, cfg.lr, cfg.scales) == ('tcl', 'imagenet', 7.5e-5, system.cfg.scales)
    trained, log = train(cfg, tmp_path/'run', progress=False)
    assert len(log) == 2 and all(r['loss'] is not None for r in log)
    again = load_model(tmp_path/'run')
    for k, v in trained.state_dict().items():
        assert torch.equal(again.state_dict()[k], v), k
    moved = [k for k, v in again.learned().items() if not torch.equal(v, system.learned()[k])]
    assert any('convs' in k for k in moved) and not any('tail.block' in k for k in moved)  # at two steps of a first stage
    save_model(trained, tmp_path/'copy')
    config = json.loads((tmp_path/'copy/config.json').read_text())
    (tmp_path/'copy/config.json').write_text(json.dumps({**config, 'encoder': 'another'}))
    with pytest.raises(UserError, match='put the file back'):
        load_model(tmp_path/'copy')

def test_refuses_other_systems(case):
    with pytest.raises(UserError, match='leave --system mgca out'):
        configure(model=f'tcl:{case[2]}', system='mgca')
    with pytest.raises(UserError, match='fits scales'):
        build(configure(['scales=1'], model=f'tcl:{case[2]}'))

def test_as_many_parameters_as_released():
    "ViT-B/16, TCL's decoder: 21,637,640 numbers train in the first stage, 28,725,512 in the second"
    with torch.random.fork_rng(), pytest.warns(UserWarning, match='random weights'):
        system = build(configure(system='tcl', model='open_clip:ViT-B-16-quickgelu', size='cc3m'))
    def count(params): return sum(p.numel() for p in params)
    trained = count(p for p in system.parameters() if p.requires_grad)
    assert (trained - count(system.stage(.59)), trained - count(system.stage(.61))) == (21_637_640, 28_725_512)
    cfg = system.cfg
    assert (cfg.w_tcl, cfg.w_area, cfg.w_tv, cfg.area) == (.1, .4, 1., .4)
    assert (cfg.kappa, cfg.unfreeze, cfg.scales, cfg.kernel) == (1., .6, (2, 2), 3)
    assert (cfg.steps, cfg.batch, cfg.lr, cfg.eps, cfg.weight_decay, cfg.clip_norm) == (50_000, 1024, 7.5e-5, 1e-6, .05, 5.)
    assert abs(cfg.lr*cfg.lr_end - 1e-5) < 5e-8 and cfg.warmup*cfg.steps == 15_000
    torch.testing.assert_close(system.mean.flatten(), torch.tensor((.485, .456, .406)))

def told_sizes(told): # settings that no tensor shows, and sizes that tensors must show: what the file says in words
    text = told['config']
    def number(told): return tuple(map(int, told.split('/'))) if '/' in told else int(told)
    def read(**patterns): return {k: number(m[1]) for k, p in patterns.items() if (m := re.search(p, text))}
    heads = read(heads=r'\bheads (\d+)', text_heads=r'(\d+) heads?, \d+ layers')
    return heads, read(embed=r'embed (\d+)', depths=r'depths ([\d/]+)', group_tokens=r'group tokens ([\d/]+)', patch=r'patch (\d+)',
                       groups=r'output groups ([\d/]+)', image_size=r'image (\d+)', text_width=r'text width (\d+)',
                       text_layers=r'heads?, (\d+) layers', out=r'output (\d+)')

@pytest.fixture(scope='module', params=GROUPS or [None], ids=lambda p: p.stem if p else 'none')
def grouped(request, tmp_path_factory): # golden numbers, the system, its file, what its encoders make of the golden image and texts
    if request.param is None:
        pytest.skip('no golden files; MGCA_GOLDEN names their folder')
    told, name = json.loads(request.param.read_text()), re.match('groupvit|pgseg', request.param.stem)[0]
    path, (heads, sizes) = write_checkpoint(told, tmp_path_factory.mktemp('golden')/f'{name}.pth'), told_sizes(told)
    model = f'{name}:{path}?' + '&'.join(f'{k}={v}' for k, v in heads.items())
    system = load_model(model)
    assert {k: getattr(system.cfg, k) for k in sizes} == sizes
    tokens = torch.tensor(told['about']['tokens'])
    with torch.no_grad():
        groups, found = system.img_encoder(system.normalised(formula_image(len(tokens), system.image_size)), Chance())
        feature = system.text_encoder(F.pad(tokens, (0, system.cfg.context - tokens.shape[1])))[0]
        cut = system.text_encoder(tokens)[0]  # padding says nothing
        image, text = system.img_projector(groups.mean(1)), system.text_projector(feature)
    torch.testing.assert_close(cut, feature, rtol=1e-4, atol=1e-5)
    return told['numbers'], system, path, dict(groups=groups, found=found, feature=feature, image=image, text=text)

def test_every_number_of_groups_is_known(grouped):
    known = {'image_emb', 'text_emb', 'group_tokens_out', 'assign_soft_stage1_group0', 'assign_hard_stage1_sums', 'infonce',
             'assign_soft_stage2_group0', 'multi_label', 'tokens_out', 'stage1_prototypes_0', 'stage2_prototypes_0',
             'stage1_proto_assign_0', 'stage1_centres_0', 'text_feature', 'text_prototypes_0', 'match_released_min',
             'closs_released_identity'}
    assert set(grouped[0]) <= known

def test_groups(grouped):
    "Groups, assignments, embeddings, losses"
    numbers, system, _, made = grouped
    first, second = (f['logits'] for f in made['found'][:2])
    hard = F.one_hot(first.argmax(1), first.shape[1]).transpose(1, 2)
    image, text = F.normalize(made['image'], dim=-1), F.normalize(made['text'], dim=-1)
    with torch.no_grad():
        mine = dict(image_emb=made['image'], text_emb=made['text'], tokens_out=made['groups'], text_feature=made['feature'],
                    assign_soft_stage1_group0=first.softmax(1)[0, 0], assign_soft_stage2_group0=second.softmax(1)[0, 0],
                    assign_hard_stage1_sums=hard[0].sum(-1), infonce=info_nce(system.logit_scale.exp()*image @ text.T))
        if 'multi_label' in numbers:
            raw = made['text']
            texts = torch.stack([raw, raw.roll(1, 0), raw + .5*raw.roll(2, 0)], 1)
            mine['multi_label'] = multi_label(image, F.normalize(texts, dim=-1), system.multi_label_logit_scale.exp())
    for name in mine.keys() & numbers.keys():
        meets(mine[name], numbers[name], name)
    if 'group_tokens_out' in numbers:  # of which token, the file does not say
        meets_somewhere(made['groups'].flatten(0, 1), numbers['group_tokens_out'], 'group_tokens_out')

def test_prototypes(grouped):
    "Prototypes of image and text, their pairs as released and as meant"
    numbers, system, path, made = grouped
    if 'stage1_prototypes_0' not in numbers:
        pytest.skip('this system has no prototypes')
    assert system.cfg.code_compat == 1  # the file was trained by the released code
    first, second = made['found'][:2]
    with torch.no_grad():
        z = (first['entered'] @ first['protos'].transpose(1, 2)).softmax(-1)
        z = z/(1e-6 + z.sum(1, keepdim=True))
        of_text = system.text_encoder.Atten.find(made['feature'][..., None])[0]
        scale = system.img_encoder.logit_scale.exp()
        mine = dict(stage1_prototypes_0=first['protos'][0], stage2_prototypes_0=second['protos'][0], stage1_proto_assign_0=z[0].T,
                    stage1_centres_0=first['centres'][0], text_prototypes_0=of_text[0],
                    match_released_min=matched(first['centres'], first['protos'], maximise=False)[0],
                    closs_released_identity=pair_loss(pair_rows(first['centres'], first['protos'], scale, code_compat=True)))
    for name in mine.keys() & numbers.keys():
        meets(mine[name], numbers[name], name)
    torch.testing.assert_close(z.sum(1), torch.ones_like(z.sum(1)), atol=1e-4, rtol=0)
    torch.testing.assert_close(first['protos'].norm(dim=-1), torch.ones(first['protos'].shape[:2]), atol=1e-4, rtol=0)
    meant = build(configure([f'text_protos={system.cfg.groups[-1]}', 'code_compat=0'], model=f'pgseg:{path}'))
    assert meant.text_encoder.Atten.mu.shape[-1] == system.cfg.text_width
    assert torch.equal(meant.img_encoder.layers[0].downsample_spatial.mu, system.img_encoder.layers[0].downsample_spatial.mu)

def test_a_file_of_groups_goes_on_and_is_saved(grouped, tmp_path):
    _, system, path, _ = grouped
    name = system.cfg.system
    cfg = configure(['batch=4', 'steps=2', 'warmup=0', 'cached_features=0', f'heads={system.cfg.heads}'], model=f'{name}:{path}')
    assert (cfg.system, cfg.lr, cfg.heads) == (name, 1e-4, system.cfg.heads)
    trained, log = train(cfg, tmp_path/'run', progress=False)
    assert len(log) == 2 and all(r['loss'] is not None for r in log)
    path.rename(tmp_path/'gone.pth')
    try:
        again = load_model(tmp_path/'run')  # all weights are saved, so the file is needed no more
    finally:
        (tmp_path/'gone.pth').rename(path)
    for k, v in trained.state_dict().items():
        assert torch.equal(again.state_dict()[k], v), k

def test_wrong_files_of_groups(grouped, tmp_path):
    _, system, path, _ = grouped
    name = system.cfg.system
    with pytest.raises(UserError, match='leave --system mgca out'):
        configure(model=f'{name}:{path}', system='mgca')
    with pytest.raises(UserError, match='does not fit'):
        build(configure([f'embed={2*system.cfg.embed}'], model=f'{name}:{path}'))
    with pytest.raises(UserError, match='no such file'):
        configure(model=f'{name}:{tmp_path}/nothing.pth')
    with pytest.raises(UserError, match='only heads and text_heads'):
        configure(model=f'{name}:{path}?depth=3')

@pytest.mark.parametrize('name', ['groupvit', 'pgseg'])
def test_published_sizes_of_groups(name):
    "The class's own values are the released configuration"
    cfg = configure(system=name)
    assert (cfg.embed, cfg.depths, cfg.heads, cfg.group_tokens, cfg.groups) == (384, (6, 3, 3), 6, (64, 8, 0), (64, 8))
    assert (cfg.patch, cfg.drop_path, cfg.out, cfg.hidden, cfg.layers) == (16, .1, 256, 4096, 2)
    assert (cfg.text_width, cfg.text_heads, cfg.text_layers, cfg.context) == (256, 4, 12, 77)
    with torch.device('meta'):
        count = sum(p.numel() for p in GroupEncoder(cfg, 224).parameters())
    assert 25e6 < count < 35e6

def wave(name, *shape): # an input of that name
    i = np.arange(math.prod(shape))
    return torch.from_numpy(np.sin(.7*(i % 10007) + sum(name.encode()) % 997).reshape(shape)).float()

def decoder_of(told): # sizes from the configuration and, where it is silent, from the shapes of the state dict
    c, shapes = told['config'], told['state_dict']['decoder']
    guides = [shapes[f'decoder_guidance_projection.{i}.0.weight'] for i in (0, 1)]
    (text_proj, text), (look_proj, look, *_) = (shapes[f'{n}guidance_projection.0.weight'] for n in ('text_', ''))
    pooling, window = (c[k][0] if isinstance(c[k], list) else c[k] for k in ('pooling', 'window'))
    return CostDecoder(DecoderSizes(
        text=text, look=look, guides=[g[1] for g in guides], guide_proj=[g[0] for g in guides], size=(c['H'], c['H']),
        hidden=c['hidden'], layers=c['layers'], heads=c['heads'], window=window, pooling=pooling, pad_len=c['pad_len'],
        fusion=c['fusion'], kernel=c['kernel'], look_proj=look_proj, text_proj=text_proj,
        dims=[shapes[f'decoder{i}.conv.double_conv.0.weight'][0] for i in (1, 2)]))

@pytest.fixture(scope='module', params=COSTS or [None], ids=lambda p: p.stem if p else 'none')
def costs(request): # golden numbers, configuration, and what the three parts make of the golden inputs
    if request.param is None:
        pytest.skip('no golden files; MGCA_GOLDEN names their folder')
    told = json.loads(request.param.read_text())
    H, T = told['config']['H'], told['config']['T']
    heads, layers = (int(re.search(rf'(\d+) {word}', told['config']['p2t'])[1]) for word in ('head', 'layer'))
    word, vision, kernel = (int(re.search(rf'{name} (\d+)', told['config']['t2p'])[1]) for name in ('word', 'vision', 'kernel'))
    parts = dict(p2t=PixelToText(word, heads, layers), t2p=TextToPixel(word, vision, kernel), decoder=decoder_of(told))
    for name, part in parts.items():
        part.eval().load_state_dict({k: formula(k, shape, {}) for k, shape in told['state_dict'][name].items()})
    sizes, made = parts['decoder'].sizes, {}
    text = F.normalize(wave('text', T, 1, word) + .3*wave('more', T, 1, word), dim=-1).transpose(0, 1)
    feats = wave('features', 1, sizes.look, H, H)
    guides = [wave(f'g{i}', 1, d, k*H, k*H) for i, d, k in zip(range(3), (sizes.look, *sizes.guides), (1, 2, 4))]
    with torch.no_grad():
        made['text'] = parts['p2t'](feats, text)
        made['t2p'] = parts['t2p'](feats, made['text'])
        made['global'] = global_cost(feats, made['text'])
        made['local'] = parts['decoder'].Local_align(feats, made['text'])
        made['logits'] = parts['decoder'](feats, made['text'], guides)
    return told['numbers'], made

def rows_of(maps, width): # (1,T,H,W) -> what begins with a row of the first class; which row, the file does not say
    return F.pad(maps[0].flatten(), (0, width)).unfold(0, width, 1)[:maps[0, 0].numel():maps.shape[-1]]

def test_costs(costs):
    "Texts that have looked, both volumes, the loss's logits and the decoder's"
    numbers, made = costs
    known = {'p2t_text', 't2p_logits', 't2p_shape', 'global_cost', 'local_cost', 'logits_shape', 'logits_mean'}
    assert all(k in known or re.fullmatch(r'logits_class\d+_row\d+', k) for k in numbers)
    meets(made['text'], numbers['p2t_text'], 'p2t_text')
    for name, of in (('t2p_logits', 't2p'), ('global_cost', 'global'), ('local_cost', 'local')):
        meets_somewhere(rows_of(made[of], len(numbers[name])), numbers[name], name)
    for name, of in (('t2p_shape', 't2p'), ('logits_shape', 'logits')):
        assert list(made[of].shape) == numbers[name]
    meets(made['logits'].mean(), numbers['logits_mean'], 'logits_mean')
    for name in numbers:
        if found := re.fullmatch(r'logits_class(\d+)_row(\d+)', name):
            meets(made['logits'][0, int(found[1]), int(found[2])], numbers[name], name)
