"Build mgca from settings.ini, the one place where its name, version and requirements are written."
import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(here/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
extras = {k.removesuffix('_requirements'): shlex.split(v) for k, v in cfg.items() if k.endswith('_requirements')}

setup(name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
      author=cfg['author'], author_email=cfg['author_email'], url=cfg['git_url'], license='Apache-2.0',
      license_files=['LICENSE', 'NOTICE'], packages=find_packages(include=['mgca', 'mgca.*']),
      package_data={'mgca': ['py.typed', 'assets/*', 'assets/lite/*']}, python_requires='>=' + cfg['min_python'],
      install_requires=shlex.split(cfg['requirements']), extras_require=extras,
      entry_points={'console_scripts': cfg['console_scripts'].split(),
                    'nbdev': [f"{cfg['lib_name']}={cfg['lib_path']}._modidx:d"]},
      long_description=(here/'README.md').read_text(encoding='utf-8'), long_description_content_type='text/markdown',
      classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Education',
                   'Intended Audience :: Science/Research', 'Programming Language :: Python :: 3',
                   'Topic :: Scientific/Engineering :: Image Recognition'])
