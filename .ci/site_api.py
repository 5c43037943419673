"Pages of the package, one a floor, from its source: signatures, docstrings, and the comments beside parameters and returns."
import ast
import io
import re
import tokenize

from mgca.apps.photos import markdown

LONGEST = 60 # characters of a constant's value that is shown

def comments(text): # source -> dict of line -> what its comment says
    found = (t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT)
    return {t.start[0]: t.string.lstrip('# ').strip() for t in found}

def escaped(text): # -> the same words in Markdown, code between backticks as it is
    parts = re.split(r'(`[^`]+`)', text)
    plain = [re.sub(r'([\\*_{}\[\]<>$|~#`])', r'\\\1', p) for p in parts[::2]]
    code = [p.replace('|', r'\|') for p in parts[1::2]]
    return ''.join(p for pair in zip(plain, [*code, '']) for p in pair)

def code(node): # syntax tree or None -> Markdown
    return escaped(f'`{ast.unparse(node)}`') if node is not None else ''

def patched(f): # -> name of the class that this function is added to, or None
    if any(ast.unparse(d).startswith('patch') for d in f.decorator_list) and f.args.args:
        first = f.args.args[0].annotation
        return first and ast.unparse(first)

def signature(f, method): # -> text as `(a, b=1)`, without self
    args = ast.parse(ast.unparse(f)).body[0].args
    if method and args.args:
        args.args = args.args[1:]
    for a in [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]:
        if a:
            a.annotation = None  # the table has it
    return f'({ast.unparse(args)})'

def end_of_signature(f, lines): # -> number of its last line
    last = f.body[0].lineno
    while last > f.lineno and not re.search(r'\)\s*(->.*)?:', lines[last - 1].split('#')[0]):
        last -= 1
    return last

def parameters(f, said, lines, method): # -> rows: name, type, default, comment
    args, last = f.args, end_of_signature(f, lines)
    plain = [*args.posonlyargs, *args.args]
    defaults = dict(zip([a.arg for a in plain][::-1], args.defaults[::-1]))
    defaults |= {a.arg: d for a, d in zip(args.kwonlyargs, args.kw_defaults)}
    listed = [(a, '') for a in plain[method:]] + [(args.vararg, r'\*')] + [(a, '') for a in args.kwonlyargs] + [(args.kwarg, r'\*\*')]
    rows = []
    for a, stars in listed:
        if a:
            told = said.get(a.end_lineno, '') if a.end_lineno < last else ''
            rows.append([f'{stars}`{a.arg}`', code(a.annotation), code(defaults.get(a.arg)), escaped(told)])
    if said.get(last) or f.returns is not None:
        rows.append(['*returns*', code(f.returns), '', escaped(said.get(last, ''))])
    return rows

def fields(c, said): # class -> rows of its annotated fields
    return [[f'`{n.target.id}`', code(n.annotation), code(n.value), escaped(said.get(n.lineno, ''))]
            for n in c.body if isinstance(n, ast.AnnAssign) and is_public(n.target.id) and 'ClassVar' not in ast.unparse(n.annotation)]

def shown(rows): # -> table without the columns that are empty
    heads = ['', 'type', 'default', '']
    keep = [i for i in range(4) if any(r[i] for r in rows)]
    return markdown([heads[i] for i in keep], [[r[i] for i in keep] for r in rows]) if rows else ''

def entry(kind, name, head, doc, body, source, depth): # -> a directive
    fence = '`'*(8 - depth)
    first = f'{doc} {source}'.strip()
    text = '\n\n'.join(p for p in (first, body) if p)
    return f'{fence}{{py:{kind}}} {name}{head}\n\n{text}\n\n{fence}\n'

def is_public(name): return not name.startswith('_')

class Module:
    "One file of the package and what it says of itself"
    def __init__(self, path, root, url):
        self.name = '.'.join(path.relative_to(root).with_suffix('').parts)
        self.url = f'{url}/{path.relative_to(root).as_posix()}'
        text = path.read_text(encoding='utf-8')
        self.tree, self.said, self.lines = ast.parse(text), comments(text), text.splitlines()
        self.notebook = next(iter(re.findall(r'File to edit: (?:\.\./)*nbs/(.+?\.ipynb)', text)), None)

    def source(self, node): # -> link to these lines
        return f'[[source]({self.url}#L{node.lineno}-L{node.end_lineno})]{{.source}}'

    def function(self, f, owner=None, depth=0): # -> directive
        method = owner is not None and not any(ast.unparse(d) == 'staticmethod' for d in f.decorator_list)
        name = f'{owner}.{f.name}' if owner else f.name
        kind = 'method' if owner else 'function'
        doc = escaped(' '.join((ast.get_docstring(f) or '').split()))
        body = shown(parameters(f, self.said, self.lines, method))
        return entry(kind, name, signature(f, method), doc, body, self.source(f), depth)

    def of_class(self, c): # -> directive with its methods inside
        own = [n for n in c.body if isinstance(n, ast.FunctionDef)]
        init = next((f for f in own if f.name == '__init__'), None)
        rows = parameters(init, self.said, self.lines, True) if init else []
        rows = [r for r in rows if r[0] != '*returns*'] or fields(c, self.said)
        methods = [f for f in own if is_public(f.name)]
        methods += [f for f in self.functions() if patched(f) == c.name and is_public(f.name)]
        inside = [shown(rows), *(self.function(f, c.name, 1) for f in methods)]
        doc = escaped(' '.join((ast.get_docstring(c) or self.said.get(c.lineno, '')).split()))
        head = signature(init, True) if init else ''
        return entry('class', c.name, head, doc, '\n\n'.join(p for p in inside if p), self.source(c), 0)

    def constant(self, n): # -> directive, or nothing for what is not meant to be read
        name, value = n.targets[0].id, ast.unparse(n.value)
        about = escaped(self.said.get(n.lineno, ''))
        if not is_public(name) or not about and len(value) > LONGEST:
            return ''
        head = f'\n:value: {value}' if len(value) <= LONGEST and '\n' not in value else ''
        return entry('data', name, head, about, '', self.source(n), 0)

    def functions(self): return [n for n in self.tree.body if isinstance(n, ast.FunctionDef)]

    def symbols(self): # -> public names with their directive
        for n in self.tree.body:
            if isinstance(n, ast.FunctionDef) and is_public(n.name) and not patched(n):
                yield n.name, self.function(n)
            elif isinstance(n, ast.ClassDef) and is_public(n.name):
                yield n.name, self.of_class(n)
            elif isinstance(n, ast.Assign) and len(n.targets) == 1 and isinstance(n.targets[0], ast.Name):
                text = self.constant(n)
                if text:
                    yield n.targets[0].id, text

    def page(self): # -> Markdown of its part of a page
        about = escaped(ast.get_docstring(self.tree) or '')
        where = f'Explained in the notebook [{self.notebook.removesuffix(".ipynb")}](../{self.notebook}).' if self.notebook else ''
        parts = [f'## {self.name.removeprefix("mgca.")}', about, where, f'```{{py:currentmodule}} {self.name}\n```']
        return '\n\n'.join([p for p in parts if p] + [text for _, text in self.symbols()])

def modules(root, floor, url): # the repository, a folder of the package, address of its files -> list of `Module`
    found = [Module(p, root, url) for p in (root/'mgca'/floor).glob('*.py') if not p.name.startswith('_')]
    return sorted(found, key=lambda m: m.notebook or '')

def floor_page(floor, mods): # -> Markdown
    rows = [[f'[{m.name.removeprefix("mgca.")}](#{m.name.removeprefix("mgca.").replace(".", "")})',
             escaped(ast.get_docstring(m.tree) or '')] for m in mods]
    return '\n\n'.join([f'# mgca.{floor}', markdown(['module', ''], rows), *(m.page() for m in mods)]) + '\n'

def index(floors): # dict of floor -> list of `Module` -> dict of name -> the full names it may mean
    out = {}
    for m in (m for mods in floors.values() for m in mods):
        for name, _ in m.symbols():
            out.setdefault(name, []).append(f'{m.name}.{name}')
    return out
