"""What a grid costs before it is paid for: the jobs, their time, memory and disk. Light to import: rules use it too."""
