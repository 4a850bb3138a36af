"""Cheaper ways through a frozen model, and what decides when they are good enough, which learns while it runs."""
