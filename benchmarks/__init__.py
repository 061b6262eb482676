"""What coord costs and what it gives for it, in figures, beside others on the same server.

``python -m benchmarks.recipes`` measures the recipes beside kazoo's.
"""
