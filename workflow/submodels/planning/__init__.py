"""Estimated costs of a grid before it is run: jobs, their time, memory and disk. Light to import: rules use it too."""
