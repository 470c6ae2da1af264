//! Empty: this crate has tests only.
