"""The avatars pack: two classifiers, one with a planted shortcut, a generator, its parts, and a ruler.

python -m packs.avatars draw         # the drawings, cached under .unitscope/packs/avatars
python -m packs.avatars classifiers  # trains `clean` and `shortcut`
python -m packs.avatars generator    # fits the generator, resumable
python -m packs.avatars ruler        # trains the ruler on drawings, resumable
python -m packs.avatars labels DIR   # writes the 20 labelled pictures of the parts model
python -m packs.avatars parts        # trains the parts model from them
python -m packs.avatars cards        # measures everything and writes models/avatars
python -m packs.avatars check        # recomputes every figure on the cards
"""
