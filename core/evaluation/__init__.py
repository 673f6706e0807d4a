"""Measuring a model: prompts, answers, checks, statistics, and the task's own evaluate.py."""
