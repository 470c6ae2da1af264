//! Streams behind `net::Listener`, whose sockets leave hyper.

mod connect_info;
mod detach;
mod slow_clients;
mod streams;
