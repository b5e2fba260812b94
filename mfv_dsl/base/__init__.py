"""The ground floor: errors, source texts, facts, places, files, numbers, memory.

Everything else stands on it, and it imports nothing else of mfv-dsl.
"""
