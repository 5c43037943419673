"""Pack the drawings of the embedded scenes: npm packages in, three sprite sheets and one table out.

    npm install emoji-datasource-google emoji-datasource-twitter @lobehub/fluent-emoji-3d emojibase-data
    python experiments/pack_assets.py node_modules mgca/assets

Only what the scenes need is packed. Licences and credits are in the NOTICE file at the top of the project.
The word list is ours, chosen among emojibase's labels and tags; the label picks the drawing.
"""
import argparse, json
from pathlib import Path

from PIL import Image

CELL, COLUMNS = 64, 16
STYLES = {'google': ('emoji-datasource-google/img/google/64', '.png'),
          'twitter': ('emoji-datasource-twitter/img/twitter/64', '.png'),
          'fluent': ('@lobehub/fluent-emoji-3d/assets', '.webp')}

# name|synonym=emojibase label (the label may be left out where it is the name)
OBJECTS = """
monkey; gorilla; dog|puppy; wolf; fox; raccoon; cat|kitten; lion; tiger; leopard; horse; moose; donkey; zebra; deer;
cow; pig; sheep=ewe; goat; camel; llama; giraffe; elephant; rhinoceros|rhino; hippopotamus|hippo; rabbit|bunny; beaver;
hedgehog; bat; bear; koala; panda; sloth; otter; skunk; kangaroo; squirrel=chipmunk
turkey; rooster; chick=baby chick; penguin; eagle; duck; swan; owl; flamingo; peacock; parrot; goose
frog; crocodile; turtle; lizard; snake; whale; dolphin; seal; fish=tropical fish; shark; octopus; crab; lobster; shrimp;
jellyfish; snail; butterfly; ant; bee=honeybee; ladybug=lady beetle; scorpion
bouquet; rose; sunflower; tulip; cactus; palm tree; pine tree=evergreen tree; mushroom; maple leaf; potted plant
watermelon; orange=tangerine; lemon; banana; pineapple; mango; red apple; green apple; pear; peach; strawberry;
kiwi=kiwi fruit; tomato; coconut; avocado; eggplant; carrot; bell pepper; cucumber; broccoli; onion
croissant; baguette=baguette bread; pretzel; bagel; waffle; hamburger|burger; pizza; hot dog; sandwich; taco; fried egg=cooking;
sushi; ice cream; doughnut|donut; cookie; birthday cake; cupcake; pie; chocolate bar; lollipop; teapot; coffee cup=hot beverage;
wine glass; beer mug
volcano; house; castle; tent; ferris wheel; fountain
train=locomotive; bus; ambulance; fire truck=fire engine; police car; taxi|cab; car=automobile; tractor; motorcycle; bicycle|bike;
skateboard; traffic light=vertical traffic light; stop sign; anchor; sailboat; canoe; ship; helicopter; airplane|aeroplane; rocket;
parachute; wheelchair=manual wheelchair
suitcase=luggage; hourglass=hourglass done; wristwatch=watch; alarm clock; umbrella; snowman=snowman without snow; campfire=fire;
balloon; gift=wrapped gift; trophy; medal=sports medal; soccer ball; baseball; basketball; football=american football;
boxing glove; kite; teddy bear; dartboard=bullseye; game die
eyeglasses=glasses; necktie; shirt=t-shirt; scarf; coat; dress; backpack; handbag; sneaker=running shoe; high heel=high-heeled shoe;
boot=woman’s boot; crown; top hat; ring; bell; megaphone; microphone; radio
saxophone; trumpet; accordion; guitar; violin; drum; telephone=telephone receiver; laptop; camera; television|tv; light bulb;
flashlight; red lantern=red paper lantern
scroll; envelope; mailbox=closed mailbox with raised flag; pencil; briefcase; calendar; padlock=locked; key; hammer; axe; bomb;
wrench; screwdriver; magnet; ladder; microscope; telescope; syringe
door; mirror; chair; toilet; bathtub; broom; basket; bucket; toothbrush; shopping cart; fire extinguisher; candle
"""
IRREGULAR = {'wolf': 'wolves', 'deer': 'deer', 'sheep': 'sheep', 'moose': 'moose', 'goose': 'geese', 'fish': 'fish',
             'shrimp': 'shrimp', 'maple leaf': 'maple leaves', 'scarf': 'scarves', 'eyeglasses': 'eyeglasses',
             'jellyfish': 'jellyfish', 'game die': 'game dice', 'sushi': 'sushi', 'broccoli': 'broccoli'}


def plural(word):
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith(('s', 'sh', 'ch', 'x', 'z')):
        return word + 'es'
    if word.endswith('y') and word[-2] not in 'aeiou':
        return word[:-1] + 'ies'
    if word in ('tomato', 'mango', 'volcano', 'potato'):
        return word + 'es'
    return word + 's'


def find(folder, ending, hexcode):
    "The drawing of `hexcode`, with or without the variation selector in its file name"
    h = hexcode.lower()
    for name in (h, h.replace('-fe0f', ''), h + '-fe0f'):
        if (folder/(name + ending)).exists():
            return folder/(name + ending)
    raise SystemExit(f'no drawing of {hexcode} in {folder}')


def sprite(path):
    "One drawing as `CELL`x`CELL` RGBA, cropped to what is visible and scaled to fill the cell"
    im = Image.open(path).convert('RGBA')
    im = im.crop(im.getchannel('A').point(lambda a: 255*(a > 8)).getbbox())
    scale = CELL/max(im.size)
    im = im.resize([max(1, round(s*scale)) for s in im.size], Image.LANCZOS)
    cell = Image.new('RGBA', (CELL, CELL))
    cell.paste(im, ((CELL - im.width)//2, (CELL - im.height)//2))
    return cell


def main(node_modules, out):
    entries = json.loads((node_modules/'emojibase-data/en/data.json').read_text())
    by_label = {e['label'].lower(): e for e in entries}
    by_label.update({e['label'].lower() + ' face': e for e in entries if e['label'].lower() + ' face' not in by_label})
    table = []
    for word in OBJECTS.replace('\n', ';').split(';'):
        if not word.strip():
            continue
        name, _, label = word.partition('=')
        name, *synonyms = name.strip().split('|')
        e = by_label.get((label or name).strip().lower())
        if e is None:
            raise SystemExit(f'emojibase has no label {(label or name)!r}')
        table.append(dict(name=name, plural=plural(name), synonyms=synonyms,
                          synonym_plurals=[plural(s) for s in synonyms], hexcode=e['hexcode']))
    names = [t['name'] for t in table]
    assert len(set(names)) == len(names), 'a name twice'
    (out/'objects.json').write_text(json.dumps(table, indent=0, ensure_ascii=False) + '\n')
    rows = -(-len(table)//COLUMNS)
    for style, (folder, ending) in STYLES.items():
        sheet = Image.new('RGBA', (COLUMNS*CELL, rows*CELL))
        for i, t in enumerate(table):
            sheet.paste(sprite(find(node_modules/folder, ending, t['hexcode'])), (i % COLUMNS*CELL, i//COLUMNS*CELL))
        sheet.save(out/f'sprites_{style}.webp', quality=88, method=6, alpha_quality=95)
        print(style, len(table), 'objects', (out/f'sprites_{style}.webp').stat().st_size//1000, 'KB')


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('node_modules', type=Path)
    p.add_argument('out', type=Path)
    main(**vars(p.parse_args()))
