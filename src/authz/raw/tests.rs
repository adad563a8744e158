//! Decisions on the objects of one cluster.
