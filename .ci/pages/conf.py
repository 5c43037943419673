"What Sphinx has to know; `.ci/site.py` copies this file beside the pages it makes."
from configparser import ConfigParser
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

settings = ConfigParser(delimiters=['='])
settings.read(Path(__file__).parent/'settings.ini', encoding='utf-8')
settings = settings['DEFAULT']

project = html_title = settings['title']
author = settings['author']
copyright = settings['copyright']
release = version = settings['version']
language = 'en'

extensions = ['myst_nb']
exclude_patterns = ['_notebooks']
nb_execution_mode = 'off'
nb_merge_streams = True
myst_enable_extensions = ['dollarmath', 'attrs_inline', 'attrs_block']
myst_heading_anchors = 3
myst_dmath_double_inline = True
nb_code_prompt_show = 'Show its code'
nb_code_prompt_hide = 'Hide its code'
add_module_names = False
toc_object_entries_show_parents = 'hide'
python_maximum_signature_line_length = 88
pygments_style = 'friendly'
pygments_dark_style = 'monokai'

html_theme = 'furo'
html_static_path = ['_static']
html_css_files = ['style.css']
html_copy_source = False
html_show_sphinx = False
html_math_renderer = 'mathml'
html_baseurl = settings['doc_host'] + settings['doc_baseurl'] + '/'
html_theme_options = dict(source_repository=settings['git_url'] + '/', source_branch=settings['branch'],
                          top_of_page_buttons=[], navigation_with_keys=True)

def formula(display): # 'inline' or 'block' -> what Sphinx calls at a formula
    def visit(self, node):
        self.body.append(convert(node.astext(), display=display))
        raise nodes.SkipNode
    return visit, None

def setup(app):
    "Formulas as MathML, which browsers draw themselves: no script from elsewhere"
    app.add_html_math_renderer('mathml', inline_renderers=formula('inline'), block_renderers=formula('block'))
