//! The functions of the fuzz targets, shared with the property tests.

#[path = "../../tests/inputs/mod.rs"]
pub mod inputs;
