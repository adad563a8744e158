//! In-process tests.

mod modules;
