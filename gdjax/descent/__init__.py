"""A descent described and run."""

from gdjax.descent.description import Descent as Descent
from gdjax.descent.running import run as run
from gdjax.descent.state import Result as Result
from gdjax.descent.state import State as State
from gdjax.descent.state import Status as Status
from gdjax.descent.stepping import init as init
from gdjax.descent.stepping import step as step
