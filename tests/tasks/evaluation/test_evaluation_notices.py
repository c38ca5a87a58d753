"""What is said before the results of an evaluation."""

from resnets.data.split.lineage import Lineage
from resnets.tasks.evaluation import evaluation_notices
from resnets.tasks.evaluation.evaluation_split import NOT_TRAINED_ON, EvaluationSplit


def test_the_images_of_a_comparison_are_named_in_words() -> None:
    models = [("b", Lineage(gap="it has no split"))]
    (notice,) = evaluation_notices.training_notices(models, EvaluationSplit(NOT_TRAINED_ON, (), ""))
    assert notice.startswith("whether some of the images were used to train 'b' is not known")
