//! The functions behind the fuzz targets: the same as in the property tests.

#[path = "../../tests/inputs/mod.rs"]
pub mod inputs;
