"""The last import of the process from which `forked_processes` forks.

What is there by then stays out of garbage collections, which would write to every object and so copy its page into each process.
"""

import gc

from resnets.cli import process_settings
from resnets.cli.main import command
from resnets.report.html import page

process_settings.keep_memory()
command()
page._template()  # compiled once, for the reports of all
gc.collect()
gc.freeze()
