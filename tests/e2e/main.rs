//! Tests against real counterparts.

mod crash;
