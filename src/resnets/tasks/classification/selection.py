"""By which metrics the best epoch of a classification is selected."""

from resnets.tasks.best_epoch import Monitor

MONITOR = (Monitor("accuracy_top1", "max"), Monitor("loss", "min"))
