"""Textual screens and widgets: each draws a piece of RunState and decides nothing."""
