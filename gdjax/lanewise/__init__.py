"""Functions of one lane, taken apart and rewritten so that a tile of lanes runs fast."""

from gdjax.lanewise.abreast import evaluate_abreast as evaluate_abreast
from gdjax.lanewise.abreast import suits as suits
from gdjax.lanewise.entries import Entries as Entries
from gdjax.lanewise.entries import are_small as are_small
from gdjax.lanewise.entries import is_small as is_small
from gdjax.lanewise.entries import whole as whole
from gdjax.lanewise.evaluate import Found as Found
from gdjax.lanewise.evaluate import evaluate as evaluate
from gdjax.lanewise.evaluate import read as read
from gdjax.lanewise.evaluate import split_leaf as split_leaf
from gdjax.lanewise.loops import scan as scan
from gdjax.lanewise.loops import while_loop as while_loop
from gdjax.lanewise.program import Atom as Atom
from gdjax.lanewise.program import Levels as Levels
from gdjax.lanewise.program import Operation as Operation
from gdjax.lanewise.program import Program as Program
from gdjax.lanewise.program import Value as Value
from gdjax.lanewise.program import needed as needed
from gdjax.lanewise.program import traced as traced
from gdjax.lanewise.straight import straight as straight
