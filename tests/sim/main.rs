//! Whole networks in virtual time: engines, a seeded network between them, no sockets, no waiting.

mod first_packet;
