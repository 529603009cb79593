"""Objects: meshes with named parts, and distances to them."""

from hoijax.objects.asset import Asset as Asset
from hoijax.objects.asset import MeshScaleWarning as MeshScaleWarning
from hoijax.objects.asset import asset_from_arrays as asset_from_arrays
from hoijax.objects.asset import load_asset as load_asset
from hoijax.objects.asset import save_asset as save_asset
from hoijax.objects.distance_grid import DistanceGrids as DistanceGrids
from hoijax.objects.distance_grid import build_distance_grids as build_distance_grids
from hoijax.objects.distance_grid import query as query
from hoijax.objects.distance_grid import query_with_gradient as query_with_gradient
from hoijax.objects.procedural import PROCEDURAL_OBJECTS as PROCEDURAL_OBJECTS
from hoijax.objects.symmetry import find_symmetries as find_symmetries
from hoijax.objects.symmetry import symmetric_angle_degrees as symmetric_angle_degrees
