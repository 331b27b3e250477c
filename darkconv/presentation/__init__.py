"""How results look: tables of layers, views for notebooks, numerals."""

from darkconv.core.model import Model
from darkconv.core.views import VIEWS, View
from darkconv.presentation import layer_table, profile, surgery
from darkconv.surgery.graft import GraftResult
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.profile import Profile

VIEWS[Model] = View(layer_table.as_text, layer_table.as_html)
VIEWS[Profile] = View(profile.profile_as_text, profile.profile_as_html)
VIEWS[PrunePlan] = View(surgery.plan_as_text, surgery.plan_as_html)
VIEWS[GraftResult] = View(surgery.graft_as_text, surgery.graft_as_html)
