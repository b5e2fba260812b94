"""The language server, ``mfv lsp``: what editors ask about recipes, answered from the registry and
by the checker.

``analysis`` checks a text as it stands; ``cursor`` says what could be typed at a place of it, also
where it does not parse yet; each feature is a function of these, without a server; ``server`` makes
a language server of them with pygls.  Neither torch nor numpy is imported.
"""
