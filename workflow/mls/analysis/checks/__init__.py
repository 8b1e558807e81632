"""Checks of repeats and of cells: can the figures be believed?"""
