"""How results look: tables of layers, views for notebooks, numerals."""

from darkconv.core.model import Model
from darkconv.core.views import VIEWS, View
from darkconv.presentation import layer_table, notebook
from darkconv.surgery.profile import Profile

VIEWS[Model] = View(layer_table.as_text, layer_table.as_html)
VIEWS[Profile] = View(notebook.profile_as_text, notebook.profile_as_html)
