"""Domain- and language-specific sub-models of a large language model, carved out by pruning."""

__version__ = "0.1.0"
