"""The commands of ``reasoning``: arguments in, text and an exit status out; no logic that a notebook would want."""
