"""Recipes that make and check the model packs. They may import everything; nothing imports them."""
