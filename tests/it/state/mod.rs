//! State, not only events: snapshots, the pace of streams, and their expiry.

mod expiry;
mod latest;
mod pace;
mod property;
mod proxied;
mod snapshots;
mod sum;
