"""Whole jobs between agents with strategies, on real contracts: what every way of not being honest earns and costs."""
