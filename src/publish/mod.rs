//! Publishing beyond this process.

#[cfg(feature = "grip")]
pub(crate) mod grip;
