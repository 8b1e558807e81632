"""The soundness of replies: figures of each reply's text and form, computed after the load."""
