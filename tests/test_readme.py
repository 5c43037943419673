"README's commands, as printed: every line is understood by its command, and what takes seconds is run on small stand-ins."
import importlib, inspect, json, os, re, shlex, shutil, subprocess, sys
from pathlib import Path
import numpy as np
import pytest
from PIL import Image
from mgca.core.command import command_parser, plain_flag
from mgca.core.entry import doors
from mgca.data.scenes import SceneBenchmark
from mgca.systems.rows import ABLATIONS, ROWS
from mgca.systems.registry import configure
from test_golden import FOLDER, write_checkpoint

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT/'README.md').read_text(encoding='utf-8')
LINES = [line for block in re.findall(r'```sh\n(.+?)```', README, re.S) for line in block.splitlines()]
OURS = [line for line in LINES if any(word in doors() for word in shlex.split(line, comments=True))]

def parsed(line): # (command, its arguments as its function would get them)
    words = shlex.split(line, comments=True)
    at = next(i for i, word in enumerate(words) if word in doors())
    prog, rest = words[at], words[at + 1:]
    if rest[:1] == ['prepare']:
        func, rest = importlib.import_module('mgca.eval.command').prepare, rest[1:]
    else:
        func = getattr(importlib.import_module(f'mgca.{doors()[prog]}'), prog)
    args = command_parser(func, prog).parse_args([plain_flag(a, inspect.signature(func).parameters) for a in rest])
    return prog, vars(args)

def run(line, folder, seconds=300):
    path = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'
    env = dict(os.environ, PATH=path, HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1', MPLBACKEND='agg')
    return subprocess.run(['bash', '-c', line], cwd=folder, env=env, text=True, capture_output=True, timeout=seconds)

def line_with(*words): # the one line that has them all
    found = [line for line in OURS if all(w in line for w in words)]
    assert len(found) == 1, f'{words} in {len(found)} lines of README'
    return found[0]

def write(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(picture)).save(path)

@pytest.fixture(scope='module')
def folder(tmp_path_factory): # what README's lines find where they are typed, in small
    here = tmp_path_factory.mktemp('typed')
    scenes = list(SceneBenchmark(2))
    names = ['background', *SceneBenchmark(1).class_names[:20]]
    for name, img, labels in scenes:
        write(here/f'{name}.jpg', img)
        write(here/f'photos/images/{name}.jpg', img)
        write(here/f'photos/labels/{name}.png', np.minimum(labels, 20))
        write(here/f'data/VOCdevkit/VOC2012/JPEGImages/{name}.jpg', img)
        write(here/f'data/VOCdevkit/VOC2012/SegmentationClass/{name}.png', np.minimum(labels, 20))
    (here/'photos/classes.txt').write_text('\n'.join(names))
    val = here/'data/VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt'
    val.parent.mkdir(parents=True)
    val.write_text('\n'.join(name for name, *_ in scenes))
    return here

def test_every_line_is_understood():
    assert len(OURS) > 10
    for line in OURS:
        prog, args = parsed(line)
        if prog == 'mgca_train':
            configure(**{k: args[k] for k in ('system', 'model', 'size') if args[k]})
        if prog == 'mgca_compare':
            assert set(args['only'].split(',')) <= {*ROWS, *ABLATIONS}

def tried(line, folder): # what it printed
    done = run(line, folder)
    assert done.returncode == 0 and 'Traceback' not in done.stderr, f'{line}\n{done.stderr}'
    return done.stdout

def test_photographs_are_segmented(folder):
    said = tried(line_with('mgca_segment', '*.jpg'), folder)
    assert len(said.splitlines()) == 2 and all('%' in line for line in said.splitlines())
    assert len(list((folder/'mgca_segment').glob('*.label.png'))) == 2

def test_a_trained_folder_is_judged(folder):
    shutil.copytree(ROOT/'mgca/assets/lite', folder/'runs/lite')
    assert 'mIoU' in tried(line_with('--root photos'), folder)

def test_a_download_is_checked(folder):
    assert 'a part of it' in tried(line_with('prepare voc21'), folder)

@pytest.mark.parametrize('name, file', [('tcl', 'tcl.pth'), ('groupvit', 'group_vit.pth')])
def test_released_weights_are_judged(folder, name, file):
    golden = sorted(FOLDER.glob(f'{name}.json')) if FOLDER.is_dir() else []
    if not golden:
        pytest.skip('no golden files; MGCA_GOLDEN names their folder')
    write_checkpoint(json.loads(golden[0].read_text()), folder/file)
    assert 'mIoU' in tried(line_with(f'{name}:{file}'), folder)
