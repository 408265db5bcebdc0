"""Why a run ended where it did."""

from gdjax.diagnosis.diagnose import diagnose as diagnose
from gdjax.diagnosis.verdict import Diagnosis as Diagnosis
from gdjax.diagnosis.verdict import Verdict as Verdict
