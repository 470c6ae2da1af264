//! Engines of the backplane, on real servers.

mod redis;
