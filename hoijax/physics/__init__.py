"""Can this motion happen? Support of objects in closed form, feet and balance; no training, no simulator."""
