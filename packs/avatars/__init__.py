"""The avatars pack: two classifiers, one with a planted shortcut, and a class-conditional generator.

python -m packs.avatars draw         # the drawings, cached under .unitscope/packs/avatars
python -m packs.avatars classifiers  # trains `clean` and `shortcut`
python -m packs.avatars generator    # fits the generator, resumable
python -m packs.avatars cards        # measures everything and writes models/avatars
python -m packs.avatars check        # recomputes every figure on the cards
"""
