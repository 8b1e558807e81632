"""The next runs of a sweep whose results decide what is measured."""
