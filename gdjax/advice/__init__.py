"""Which learning rate: limits of stability, best rates, and the range test."""

from gdjax.advice.advise import Advice as Advice
from gdjax.advice.advise import RateVerdict as RateVerdict
from gdjax.advice.advise import advise as advise
from gdjax.advice.range_test import RangeTest as RangeTest
from gdjax.advice.range_test import lr_range_test as lr_range_test
