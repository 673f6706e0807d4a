"""Loopback stand-ins for the services the program talks to: real HTTP servers on 127.0.0.1 with invented content.

`loopback.py` holds the server and its faults; each other module is one service. Tests point the real clients at them.
"""
